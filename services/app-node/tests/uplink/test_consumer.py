"""The consumer's reading alone: reader and dispatcher are played by the test."""

import asyncio
import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from app_node.counters import EVENT_HANDLED, Counters
from app_node.lanes.commits import Commits
from app_node.lanes.lane import Lane
from app_node.uplink.consumer import FACT_BYTES, TURN_FACTS, Consumer
from app_node.uplink.dead_letters import DeadLetters
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.protocol.codec import encode_uplink
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.messages import EventReceived
from sio_cluster.streams.api.lanes import Claimed, LaneEntry, Unclaimed
from sio_cluster.streams.api.leases import Lease

ENTRIES = 32
ROUND_TRIP_S = 0.03
TURN_S = 0.002
SID = "io1-aaaaaa.AAAAAAAAAAAAAAAA"
ENTRY = encode_uplink("io1-aaaaaa", 1, [EventReceived(SID, None, b'["a"]')] * TURN_FACTS)


class FarReader:
    """Lane 0 has a long backlog, which the first read brings. Then the others have nothing, or Redis is away."""

    def __init__(self, away: bool) -> None:
        self.away = away
        self.asked: list[list[int]] = []

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        self.asked.append(list(lanes))
        await asyncio.sleep(ROUND_TRIP_S)
        if len(self.asked) == 1:
            return [LaneEntry(0, b"%d-0" % number, ENTRY, False) for number in range(ENTRIES)]
        if self.away:
            raise BusUnavailable("away")
        return []


def consumer_of(reader: Any, routes: Any, counters: Counters, *, handling: Any = None, room: int = 1 << 30) -> Consumer:
    """`routes` is the dispatcher, and what handles what is read, unless `handling` does that."""
    return Consumer(
        reader,
        routes,
        room,
        counters,
        handling=handling or routes,
        condemned=handling or routes,
        letters=DeadLetters(reader, counters),
        commits=Commits(counters, on_lost=lambda lane: None),
        redis_clock=RedisClock(time.monotonic),
    )


class EmptyReader:
    """Nothing new comes."""

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        await asyncio.sleep(0)
        return []


async def test_what_a_former_holder_left_waits_for_room_and_holds_nobody_up() -> None:
    """Whoever takes the lane goes on at once. Nothing is lost, and the order stays."""
    begun: list[Any] = []

    def deliver(fact: Any, progress: Any) -> None:
        begun.append((fact, progress))

    parts: Any = SimpleNamespace(deliver=deliver, saw=lambda node: None)
    lane = Lane(Lease(0, "app1", 1), float("inf"), lambda: 0.0)
    keeper: Any = SimpleNamespace(readable={0}, held={0: lane}, changed=asyncio.Event())
    left = [
        LaneEntry(
            0, b"%d-0" % n, encode_uplink("io1-aaaaaa", n, [EventReceived(SID, n, b'["%s"]' % (b"x" * 9_000))]), True
        )
        for n in range(20)
    ]
    room = 2 * (len(left[0].entry) + FACT_BYTES)  # for two of them
    counters = Counters()
    reader: Any = EmptyReader()
    consumer = consumer_of(reader, parts, counters, room=room)
    reading = asyncio.create_task(consumer.run_read(keeper))
    async with asyncio.timeout(5):
        consumer.take_claimed(lane, Claimed(left))
        for number in range(20):
            while len(begun) <= number:  # the consumer tells nobody
                await asyncio.sleep(0)
            assert consumer.inflight_bytes <= room + len(left[0].entry)
            fact, progress = begun[number]
            assert fact.ack_id == number
            progress.end_fact(fact, EVENT_HANDLED)
    assert consumer.inflight_bytes == 0
    assert counters.facts_read_again == 20
    assert counters.waits_for_handlers > 0
    reading.cancel()
    await asyncio.wait([reading])


class PagedReader:
    """Lane 0 has two more pages, then a new entry. One call of three fails."""

    def __init__(self) -> None:
        self.asked: list[Any] = []  # each call: lanes for a read, an id for a page
        self._calls = 0

    async def claim_more(self, rest: Unclaimed) -> Claimed:
        await self._call(rest.after)
        number = int(rest.after[:1]) + 1
        return Claimed([_entry(number)], _rest(number) if number < 3 else None)

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        await self._call(sorted(lanes))
        return [_entry(4)] if 0 in lanes and self.asked.count([0, 1]) == 1 else []

    async def _call(self, asked: Any) -> None:
        await asyncio.sleep(0)
        self._calls += 1
        if self._calls % 3 == 1:
            raise BusUnavailable("away")
        self.asked.append(asked)


def _entry(number: int) -> LaneEntry:
    batch = encode_uplink("io1-aaaaaa", number, [EventReceived(SID, number, b"[]")])
    return LaneEntry(0, b"%d-0" % number, batch, True)


def _rest(number: int) -> Unclaimed:
    return Unclaimed(0, 1, b"%d-0" % number)


@pytest.mark.parametrize("lost", [False, True])
async def test_new_entries_are_read_behind_the_last_page(lost: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And of other lanes meanwhile. A lane that was lost is not claimed any further."""
    monkeypatch.setattr("sio_cluster.node.retry.Backoff.__next__", lambda _: 0.0)
    reader: Any = PagedReader()
    begun: list[int] = []
    all_begun = asyncio.Event()
    lanes = {number: Lane(Lease(number, "app1", 1), float("inf"), lambda: 0.0) for number in (0, 1)}
    keeper: Any = SimpleNamespace(readable={0, 1}, held=lanes, changed=asyncio.Event())

    def deliver(fact: Any, progress: Any) -> None:
        begun.append(fact.ack_id)
        progress.end_fact(fact, EVENT_HANDLED)
        if lost and fact.ack_id == 1:
            consumer.drop_lane(keeper.held.pop(0))
            keeper.readable = {1}
        if len(begun) == 4 or lost:
            all_begun.set()

    parts: Any = SimpleNamespace(deliver=deliver, saw=lambda node: None)
    counters = Counters()
    consumer = consumer_of(reader, parts, counters)
    consumer.take_claimed(lanes[0], Claimed([_entry(1)], _rest(1)))
    reading = asyncio.create_task(consumer.run_read(keeper))
    await asyncio.wait_for(all_begun.wait(), 5)
    if lost:
        while len(reader.asked) < 3:
            await asyncio.sleep(0)
        assert begun == [1]
        assert all(asked == [1] for asked in reader.asked)
    else:
        assert begun == [1, 2, 3, 4]
        assert [asked for asked in reader.asked if asked != [1]][:3] == [b"1-0", b"2-0", [0, 1]]
        assert [1] in reader.asked
    reading.cancel()
    await asyncio.wait([reading])


@pytest.mark.parametrize("away", [False, True])
async def test_what_was_read_does_not_wait_for_each_look_at_other_lanes(away: bool) -> None:
    reader: Any = FarReader(away)
    done, all_done = 0, asyncio.Event()

    def deliver(fact: Any, progress: Any) -> None:
        nonlocal done
        done += 1
        progress.end_fact(fact, EVENT_HANDLED)
        if done % TURN_FACTS == 0:
            time.sleep(TURN_S)  # the work of a turn
        if done == ENTRIES * TURN_FACTS:
            all_done.set()

    handling: Any = SimpleNamespace(deliver=deliver)
    routes: Any = SimpleNamespace(saw=lambda node: None)
    lanes = {number: Lane(Lease(number, "app1", 1), float("inf"), lambda: 0.0) for number in (0, 1)}
    keeper: Any = SimpleNamespace(readable={0, 1}, held=lanes, changed=asyncio.Event())
    counters = Counters()
    consumer = consumer_of(reader, routes, counters, handling=handling)
    reading = asyncio.create_task(consumer.run_read(keeper))
    await asyncio.wait_for(all_done.wait(), 20)
    assert reader.asked[0] == [0, 1]
    assert [1] in reader.asked[1:]  # others have their turn
    assert len(reader.asked) < ENTRIES / 2
    reading.cancel()
    await asyncio.wait([reading])


class CountingReader:
    """Each read brings one small entry. The third one fails. `counts`: how many entries were asked for."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        await asyncio.sleep(0)
        self.counts.append(count)
        if len(self.counts) == 3:
            raise BusUnavailable("away")
        return [_entry(len(self.counts))]


async def test_reads_begin_small_where_much_may_have_come_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """At first, after Redis was away, when a lane was taken, and after the handlers had too much to do."""
    monkeypatch.setattr("sio_cluster.node.retry.Backoff.__next__", lambda _: 0.0)
    reader: Any = CountingReader()
    lane = Lane(Lease(0, "app1", 1), float("inf"), lambda: 0.0)
    keeper: Any = SimpleNamespace(readable={0}, held={0: lane}, changed=asyncio.Event())
    counters = Counters()

    def deliver(fact: Any, progress: Any) -> None:
        if len(reader.counts) == 6:
            consumer.take_claimed(lane, Claimed([]))
        if len(reader.counts) == 8:
            consumer.inflight_bytes += 1 << 30
            asyncio.get_running_loop().call_later(0.01, free)
        progress.end_fact(fact, EVENT_HANDLED)

    def free() -> None:
        consumer.inflight_bytes -= 1 << 30
        with consumer.paused():
            pass

    parts: Any = SimpleNamespace(deliver=deliver, saw=lambda node: None)
    consumer = consumer_of(reader, parts, counters)
    reading = asyncio.create_task(consumer.run_read(keeper))
    async with asyncio.timeout(5):
        while len(reader.counts) < 10:
            await asyncio.sleep(0)
    assert reader.counts[:10] == [1, 2, 4, 1, 2, 4, 1, 2, 1, 2]
    reading.cancel()
    await asyncio.wait([reading])
