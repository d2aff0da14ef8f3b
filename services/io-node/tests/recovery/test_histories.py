"""Histories that are right, and defects that make them wrong."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from io_node.recovery import home_log, log_items
from io_node.recovery.home_log import HomeLog, Since
from io_node.recovery.log_items import Event, Excepted, Messages, Stay
from io_node.socketio.absent import Absent
from sio_cluster.protocol.messages import Command, Emit
from sio_cluster.protocol.recovery import Position, pack
from sio_cluster.streams.memory.broker import MemoryAccount
from sio_cluster.streams.memory.homes import MemoryHomes
from sio_cluster.streams.memory.interest import MemoryInterest
from sio_cluster.streams.memory.registry import forget_node

from .histories import Wrong, history

pytestmark = pytest.mark.slow

HISTORIES = 40
"""After so many a defect counts as not found."""


@pytest.mark.parametrize("seed", range(6))
async def test_all_come_back_and_miss_nothing(seed: int) -> None:
    told = await history(seed, forgets=False)
    assert told.returns > 5
    assert told.skipped > 0


@pytest.mark.parametrize("seed", range(6))
async def test_where_logs_are_cut_nobody_is_told_a_part(seed: int) -> None:
    told = await history(seed, forgets=True)
    assert told.returns > told.fresh


# --- defects


def takes_the_rooms_of_the_end() -> AbstractContextManager[Any]:
    """A client is told what was said in the rooms in which it is in the end, from the horizon on."""

    def stays_all_along(inside: bool, horizon: int, *changes: Any) -> Iterator[Stay]:
        last = [stay for stay in log_items.stays(inside, horizon, *changes) if stay.end > pack(2**40, 0, 0)]
        return iter([stay._replace(begin=horizon) for stay in last])

    return patch.object(home_log, "stays", stays_all_along)


def begins_one_too_early() -> AbstractContextManager[Any]:
    """The event of the offset is told again."""
    since = HomeLog.since

    def earlier(log: HomeLog, *arguments: Any) -> Since | None:
        found = since(log, *arguments)
        return found and Since(*(place._replace(ms=max(0, place.ms - 1)) for place in found))

    return patch.object(HomeLog, "since", earlier)


def begins_one_too_late() -> AbstractContextManager[Any]:
    """The first event that was missed is left out."""
    since = HomeLog.since

    def later(log: HomeLog, *arguments: Any) -> Since | None:
        found = since(log, *arguments)
        return found and Since(*(place._replace(ms=place.ms + 1) for place in found))

    return patch.object(HomeLog, "since", later)


def tells_without_offsets() -> AbstractContextManager[Any]:
    """What was missed comes without a place of its own. So it comes again after the next drop."""
    of = Messages.of

    def nowhere(messages: Messages, event: Event) -> Any:
        message = of(messages, event)
        message.place = Position(0, 0, 1)
        return message

    return patch.object(Messages, "of", nowhere)


def believes_that_the_log_has_all() -> AbstractContextManager[Any]:
    """Nobody looks whether what the client missed is still there."""
    since = HomeLog.since

    def always(log: HomeLog, sid: str, at: Any, offset: Position | None, *rest: Any) -> Since:
        start = offset or Position(0, 0, 0)
        return since(log, sid, at, offset, *rest) or Since(start, start)

    return patch.object(HomeLog, "since", always)


def forgets_who_is_skipped() -> AbstractContextManager[Any]:
    """A client is told what it was skipped for."""
    init = Event.__init__

    def skip_nobody(event: Event, place: int, emit: Any, skip: Any, except_rooms: Any) -> None:
        init(event, place, emit, (), except_rooms)

    return patch.object(Event, "__init__", skip_nobody)


def forgets_excepted_rooms() -> AbstractContextManager[Any]:
    """A client is told what was not for a room in which it was."""
    return patch.object(Excepted, "concerns", lambda *_: False)


def repeats_what_is_volatile() -> AbstractContextManager[Any]:
    """What was said once, to those who were there, is told afterwards too."""
    add = HomeLog.add

    def add_all(log: HomeLog, entry_id: bytes, commands: Iterable[Command], first: int = 0) -> None:
        kept = [msgspec.structs.replace(each, volatile=False) if isinstance(each, Emit) else each for each in commands]
        add(log, entry_id, kept, first)

    return patch.object(HomeLog, "add", add_all)


def parks_no_home() -> AbstractContextManager[Any]:
    """The inbox of a dead io-node is not kept for its clients."""

    async def forget(homes: MemoryHomes, home: str, *_: Any) -> None:
        homes._broker.io_nodes.pop(home, None)
        forget_node(homes._broker, homes._keys, home)

    return patch.object(MemoryHomes, "park", forget)


def takes_out_rooms_of_the_absent() -> AbstractContextManager[Any]:
    """Who is away, or at another io-node, is in no room."""
    return patch.object(Absent, "is_empty", lambda *_: True)


def begins_without_the_absent() -> AbstractContextManager[Any]:
    """The account begins with the rooms of those who are here alone."""
    return patch.object(Absent, "rooms", lambda *_: iter(()))


def notes_no_rooms_that_are_entered() -> AbstractContextManager[Any]:
    """What is appended says nothing of the rooms that clients enter by it."""
    return patch.object(MemoryAccount, "note", lambda *_: None)


def takes_out_rooms_that_are_being_entered() -> AbstractContextManager[Any]:
    """A room without members goes, also where somebody enters it by an entry that is still to be carried out."""
    keep = MemoryInterest.keep

    async def all_gone(interest: MemoryInterest, *arguments: Any, **rooms: Any) -> bool:
        return await keep(interest, *arguments, **(rooms | {"up_to": b"9999999999-0"}))

    return patch.object(MemoryInterest, "keep", all_gone)


DEFECTS: tuple[Callable[[], AbstractContextManager[Any]], ...] = (
    takes_the_rooms_of_the_end,
    begins_one_too_early,
    begins_one_too_late,
    tells_without_offsets,
    believes_that_the_log_has_all,
    forgets_who_is_skipped,
    forgets_excepted_rooms,
    repeats_what_is_volatile,
    parks_no_home,
    takes_out_rooms_of_the_absent,
    begins_without_the_absent,
    notes_no_rooms_that_are_entered,
    takes_out_rooms_that_are_being_entered,
)


LATE = {begins_one_too_late, takes_out_rooms_of_the_absent, takes_out_rooms_that_are_being_entered}
"""Those that take seconds to find. CI looks for them."""


async def many_histories(*, forgets: bool) -> None:
    for seed in range(HISTORIES):
        await history(seed, forgets=forgets)


@pytest.mark.parametrize(
    "defect",
    [pytest.param(one, id=one.__name__, marks=[pytest.mark.ci_only] * (one in LATE)) for one in DEFECTS],
)
async def test_a_defect_is_found(defect: Callable[[], AbstractContextManager[Any]]) -> None:
    with defect(), pytest.raises(Wrong) as found:
        await many_histories(forgets=defect is believes_that_the_log_has_all)
    print(f"{defect.__name__}: {found.value}")
