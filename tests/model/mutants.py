"""Defects to try, one at a time. Each takes away one thing that the protocol needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import msgspec

from app_node.clients.client import Client
from app_node.clients.lifecycle import ClientLifecycle
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from app_node.uplink.consumer import Consumer
from app_node.uplink.suspects import Suspects
from sio_cluster.protocol.codec import decode_uplink
from sio_cluster.protocol.messages import ClientDisconnected
from sio_cluster.streams.api.appends import Append, Commit, Flushed
from sio_cluster.streams.api.lanes import Claimed, LaneEntry
from sio_cluster.streams.memory.broker import MemoryStream
from sio_cluster.streams.memory.entries import MemoryAppender
from sio_cluster.streams.memory.lanes import MemoryLaneReader, MemoryLeases

Mutant = Callable[[], AbstractContextManager[Any]]


def believes_its_lease_for_ever() -> AbstractContextManager[Any]:
    """A node that was paused does not look whether its lease still stands."""
    return patch.object(Lane, "held", lambda lane: not lane.lost)


def takes_what_is_held() -> AbstractContextManager[Any]:
    """ACQUIRE ignores the lease of another."""
    acquire = MemoryLeases.acquire

    async def acquire_always(leases: MemoryLeases, lane: int, *arguments: Any, **keywords: Any) -> Any:
        leases._broker.leases.pop(lane, None)
        return await acquire(leases, lane, *arguments, **keywords)

    return patch.object(MemoryLeases, "acquire", acquire_always)


def commits_before_done() -> AbstractContextManager[Any]:
    """An entry leaves its lane when it is read, not when its handlers have ended."""
    take = Consumer.take

    def take_and_commit(consumer: Consumer, lane: Lane, entry: LaneEntry) -> int:
        taken = take(consumer, lane, entry)
        if entry.id in lane.unfinished:
            consumer._commits.put(EntryProgress(lane, entry.id, entry.redelivered, lambda _: None))
        return taken

    return patch.object(Consumer, "take", take_and_commit)


def commits_with_any_output() -> AbstractContextManager[Any]:
    """An entry leaves its lane with the first flush that carries output of it."""
    return patch.object(EntryProgress, "ends_after", lambda progress, _: progress.commits)


def commits_behind_the_output() -> AbstractContextManager[Any]:
    """Output and commit are two steps."""
    flush = MemoryAppender.flush

    async def flush_in_steps(appender: MemoryAppender, appends: Sequence[Append], commits: Sequence[Commit]) -> Flushed:
        if not (appends and commits):
            return await flush(appender, appends, commits)
        return replace(await flush(appender, appends, []), committed=False)

    return patch.object(MemoryAppender, "flush", flush_in_steps)


def forgets_which_facts_are_done() -> AbstractContextManager[Any]:
    """Nothing is noted of an entry that is done in part."""
    return patch.object(EntryProgress, "ended_after", lambda *_: [])


def claims_nothing() -> AbstractContextManager[Any]:
    """The next app-node does not read its predecessor's unfinished entries."""

    async def claim(*_: Any) -> Claimed:
        return Claimed([])

    return patch.object(MemoryLaneReader, "claim", claim)


def claims_one_page() -> AbstractContextManager[Any]:
    """The next app-node reads the first page of what its predecessor left, and goes on with what is new."""

    async def claim_more(*_: Any) -> Claimed:
        return Claimed([])

    return patch.object(MemoryLaneReader, "claim_more", claim_more)


def reads_new_entries_between_the_pages() -> AbstractContextManager[Any]:
    """The next app-node reads new entries before it has claimed all that its predecessor left."""
    claim_more = Consumer._claim_more

    async def claim_too_late(consumer: Consumer, lanes: list[Lane]) -> None:
        for lane in lanes:
            for entry in await consumer._reader.read([lane.number], 0, 1):
                consumer._turns.put(lane, entry)
        await claim_more(consumer, lanes)

    return patch.object(Consumer, "_claim_more", claim_too_late)


def says_nothing_of_redelivery() -> AbstractContextManager[Any]:
    """The predecessor's unfinished entries come without the flag of a redelivery."""
    claim = MemoryLaneReader.claim

    async def claim_as_new(reader: MemoryLaneReader, lane: int) -> Claimed:
        page = await claim(reader, lane)
        return Claimed([LaneEntry(entry.lane, entry.id, entry.entry, False) for entry in page.entries], page.rest)

    return patch.object(MemoryLaneReader, "claim", claim_as_new)


def hands_over_without_waiting() -> AbstractContextManager[Any]:
    """A clean stop gives its lanes away while their handlers run."""
    release = LaneKeeper._release

    async def release_now(keeper: LaneKeeper, lane: Lane) -> None:
        lane.idle.set()
        await release(keeper, lane)

    return patch.object(LaneKeeper, "_release", release_now)


def forgets_what_was_appended() -> AbstractContextManager[Any]:
    """APPEND does not recognise a retry."""

    class NothingSeen(dict[str, int]):
        def get(self, *_: Any) -> Any:
            return -1

    @contextmanager
    def mutate() -> Iterator[None]:
        init = MemoryStream.__init__

        def init_forgetful(stream: MemoryStream, *arguments: Any, **keywords: Any) -> None:
            init(stream, *arguments, **keywords)
            stream.last_seq = NothingSeen()

        with patch.object(MemoryStream, "__init__", init_forgetful):
            yield

    return mutate()


def swaps_facts() -> AbstractContextManager[Any]:
    """The events of one entry are handled from its end."""
    from app_node.uplink import consumer

    def decode_backwards(entry: bytes) -> Any:
        batch = decode_uplink(entry)
        batch.facts.reverse()
        return batch

    return patch.object(consumer, "decode_uplink", decode_backwards)


def bars_nobody() -> AbstractContextManager[Any]:
    """The next app-node does not bar what its predecessor still has on its way."""

    async def bar_former(*_: Any) -> set[str]:
        return set()

    return patch.object(MemoryLeases, "bar_former", bar_former)


def holds_nobody_back() -> AbstractContextManager[Any]:
    """The holder of a lane goes on with clients that have something in quarantine."""
    return patch.object(Suspects, "deliver", lambda suspects, *arguments: suspects._handling.deliver(*arguments))


def believes_a_late_end() -> AbstractContextManager[Any]:
    """The end of an older connection counts for the newest one."""
    disconnected = ClientLifecycle.disconnected

    async def end_newest(its: ClientLifecycle, client: Client, fact: ClientDisconnected, *arguments: Any) -> Any:
        newest = max(fact.generation, client.generation)
        return await disconnected(its, client, msgspec.structs.replace(fact, generation=newest), *arguments)

    return patch.object(ClientLifecycle, "disconnected", end_newest)


def takes_no_leave() -> AbstractContextManager[Any]:
    """A client that comes back before its former connection has ended is connected twice."""

    async def end_nothing(its: ClientLifecycle, client: Client, _: EntryProgress) -> Any:
        return await its._read(client)

    return patch.object(ClientLifecycle, "_end_former", end_nothing)


MUTANTS: Mapping[Mutant, str] = {
    believes_its_lease_for_ever: r"starts on \S+, and lane -?\d+ is ",
    takes_what_is_held: r"starts on \S+, and lane -?\d+ is | while \S+ runs a handler of it",
    commits_before_done: r"were never handled|were begun and never finished|were never answered",
    commits_with_any_output: r"were never handled|were begun and never finished|were never answered",
    commits_behind_the_output: r"its answer was there",
    forgets_which_facts_are_done: r"its answer was there",
    claims_nothing: r"starts before|were never handled",
    claims_one_page: r"starts before|were never handled",
    reads_new_entries_between_the_pages: r"starts before|is out of order",
    says_nothing_of_redelivery: r"again on \S+, and nobody says so",
    hands_over_without_waiting: r"again on \S+, and nothing had failed| while \S+ runs a handler of it",
    forgets_what_was_appended: r"again on \S+, and nobody says so|got emit \d+ twice|got the answer to \d+ twice",
    swaps_facts: r"starts before|is out of order",
    bars_nobody: r"output of \S+ for \S+ lands after",
    holds_nobody_back: r"starts before|is out of order|which never heard of the client|before its events",
    believes_a_late_end: r"is there, |of \S+ again, and",
    takes_no_leave: r"connect of \S+ again, and",
}
"""Each defect, and what a history says of it. What else a history says does not count: it would be found by chance."""
