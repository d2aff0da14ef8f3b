"""What was carried out is forgotten when it is too old or too much, with what it said of rooms."""

import asyncio
import tracemalloc
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from io_node.bus.retention import Retention
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusUnavailable, RedisFull
from sio_cluster.protocol.messages import Accept
from sio_cluster.streams.api.inboxes import InboxEntry, RoomOp
from sio_cluster.streams.api.quiet import Gone

KEEP_S = 10.0


class Reader:
    """The part of an `InboxReader` that counts here."""

    def __init__(self) -> None:
        self.forgotten: list[tuple[bytes, list[RoomOp]]] = []
        self.is_away = False

    async def forget_log(self, up_to: bytes, ops: Sequence[RoomOp]) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            raise BusUnavailable("away")
        self.forgotten.append((up_to, list(ops)))


class Marking:
    """The part of `Homes` that counts here."""

    def __init__(self) -> None:
        self.marked: list[bytes] = []
        self.error: Exception | None = None

    async def mark_gone(self, home: str, gone: Gone, up_to: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.marked.append(up_to)


class World:
    def __init__(self, max_bytes: int = 100_000_000, own_text: Callable[[str], str] = str) -> None:
        self.now = 100.0
        self.reader = Reader()
        self.marking = Marking()
        self.retention = Retention(
            "io1-aaaaaa",
            self.reader,  # type: ignore[arg-type]
            self.marking,  # type: ignore[arg-type]
            is_known=lambda sid: True,
            own_text=own_text,
            keep_ms=int(KEEP_S * 1000),
            max_bytes=max_bytes,
            retry=Retry("retention", Counter()),
            clock=lambda: self.now,
        )

    def took(self, number: int, size: int = 100_000) -> None:
        list(self.retention.took(InboxEntry(b"%d-0" % number, bytes(size)), []))

    def took_accepts(self, number: int, *accepts: Accept) -> None:
        list(self.retention.took(InboxEntry(b"%d-0" % number, b""), accepts))
        for accept in accepts:
            self.retention.note(accept.sid, accept.sid, True)

    async def forgotten(self) -> list[bytes]:
        await self.retention.forget_due()
        up_to = [last for last, _ in self.reader.forgotten]
        self.reader.forgotten.clear()
        return up_to


async def test_by_age() -> None:
    world = World()
    for number in range(1, 5):
        world.took(number)
        world.now += 1
    assert await world.forgotten() == []
    world.now = 100.0 + KEEP_S + 5.3
    assert await world.forgotten() == [b"1-0"]
    assert world.retention.window_s == pytest.approx(KEEP_S + 5.3)
    world.now += 1
    assert await world.forgotten() == [b"2-0"]
    assert world.marking.marked == [b"1-0", b"2-0"]
    assert world.retention.kept_bytes == 200_000


async def test_by_bytes() -> None:
    world = World(max_bytes=100)
    for number in range(1, 11):
        world.took(number, 30)
        world.now += 1
    assert (await world.forgotten())[-1] == b"7-0"
    assert world.retention.kept_bytes == 90
    assert world.retention.window_s == pytest.approx(4)


async def test_two_who_forget_at_once_leave_nothing_out() -> None:
    world = World(max_bytes=700)
    for number in range(1, 11):
        world.took(number, 30)
        world.retention.note("ann", number, True)
        world.now += 1
    await asyncio.gather(world.retention.forget_due(), world.retention.forget_due())
    told = [op.room for _, ops in world.reader.forgotten for op in ops]
    assert told == [1, 2, 3, 4, 5, 6, 7]
    assert world.marking.marked == [last for last, _ in world.reader.forgotten]
    assert world.retention.kept_bytes == 90


async def test_what_was_carried_out_at_about_the_same_time_goes_together() -> None:
    world = World()
    for number in range(1, 101):
        world.took(number)
        world.now += 0.015625
    world.now += KEEP_S + 6
    world.took(200)
    assert await world.forgotten() == [b"17-0", b"34-0", b"51-0", b"68-0", b"85-0", b"100-0"]


async def test_where_little_is_said_few_calls_forget_it() -> None:
    world = World()
    for number in range(1, 101):
        world.took(number, 10)
        world.now += 0.25
    world.now += KEEP_S + 6
    world.took(200)
    assert await world.forgotten() == [b"21-0", b"42-0", b"63-0", b"84-0", b"100-0"]


async def test_a_full_redis_gets_no_marks() -> None:
    """What forgets entries must work all the same, or nothing would ever go."""
    world = World()
    world.took(1)
    world.now += KEEP_S + 6
    world.took(2)
    world.marking.error = RedisFull("full")
    assert await world.forgotten() == [b"1-0"]


async def test_what_is_said_of_rooms_goes_with_its_entries_in_order() -> None:
    world = World()
    world.took(1)
    world.retention.note("ann", "red", True)
    world.retention.note("ann", "red", False)
    world.now += 1
    world.took(2)
    world.retention.note("bob", 7, True)
    world.now += KEEP_S + 6
    world.took(3)
    await world.retention.forget_due()
    assert world.reader.forgotten == [
        (b"1-0", [RoomOp("ann", "red", True), RoomOp("ann", "red", False)]),
        (b"2-0", [RoomOp("bob", 7, True)]),
    ]


async def test_very_many_changes_of_rooms_are_told_in_parts() -> None:
    world = World()
    for number in range(1, 11):
        world.took(number)
        for _ in range(2_000):
            world.retention.note("ann", "red", True)
    world.now += KEEP_S + 6
    world.took(11)
    await world.retention.forget_due()
    assert max(len(ops) for _, ops in world.reader.forgotten) == 6_000


async def test_by_what_is_noted_of_rooms() -> None:
    """A room that is closed is one small command, and concerns each of its members."""
    world = World(max_bytes=1_000_000)
    for number in range(1, 11):
        world.took(number, 30)
        for _ in range(2_000):
            world.retention.note("ann", "red", False)
    await world.retention.forget_due()
    assert sum(len(ops) for _, ops in world.reader.forgotten) == 18_000
    world.reader.forgotten.clear()
    await world.retention.forget_due()
    assert world.reader.forgotten == []


async def test_while_redis_is_away_nothing_is_lost() -> None:
    world = World()
    world.took(1)
    world.retention.note("ann", "red", True)
    world.now += KEEP_S + 6
    world.took(2)
    world.reader.is_away = True
    with pytest.raises(BusUnavailable):
        await world.retention.forget_due()
    world.reader.is_away = False
    await world.retention.forget_due()
    assert world.reader.forgotten == [(b"1-0", [RoomOp("ann", "red", True)])]


async def test_the_own_rooms_of_clients_that_were_accepted() -> None:
    """A later Accept says nothing new, but the first may have left the log already."""
    world = World()
    world.took_accepts(1, Accept("ann"), Accept("ann", 1), Accept("bob", 2))
    world.now += KEEP_S + 6
    world.took(2)
    await world.retention.forget_due()
    assert world.reader.forgotten == [(b"1-0", [RoomOp("ann", "ann", True), RoomOp("bob", "bob", True)])]


async def test_a_client_that_came_lately_takes_little_memory() -> None:
    """It does so for as long as it may come back, and a node that started may have 100,000 of them at once."""
    sids = {sid: sid for sid in (f"io1-aaaaaa.{number:016}" for number in range(2_000))}
    world = World(own_text=sids.__getitem__)
    tracemalloc.start()
    try:
        for number, sid in enumerate(sids, 1):
            world.took_accepts(number, Accept(sid.encode().decode()))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(sids) < 150
