"""The consumer's reading alone: reader and dispatcher are played by the test."""

import asyncio
import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from app_node.counters import EVENT_HANDLED, Counters
from app_node.lanes.lane import Lane
from app_node.uplink.consumer import FACT_BYTES, TURN_FACTS, Consumer
from app_node.uplink.dead_letters import DeadLetters
from sio_cluster.protocol.codec import encode_uplink
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.messages import EventReceived
from sio_cluster.streams.api.lanes import LaneEntry
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
    letters = DeadLetters(reader, counters)
    consumer = Consumer(reader, parts, room, counters, handling=parts, condemned=parts, letters=letters)
    reading = asyncio.create_task(consumer.run_read(keeper))
    async with asyncio.timeout(5):
        await consumer.take_claimed(lane, left)
        for number in range(20):
            while len(begun) <= number:  # noqa: ASYNC110  # the consumer tells nobody
                await asyncio.sleep(0)
            assert consumer.inflight_bytes <= room + len(left[0].entry)
            fact, progress = begun[number]
            assert fact.ack_id == number
            progress.end_fact(EVENT_HANDLED)
    assert consumer.inflight_bytes == 0
    assert counters.facts_read_again == 20
    assert counters.waits_for_handlers > 0
    reading.cancel()
    await asyncio.wait([reading])


@pytest.mark.parametrize("away", [False, True])
async def test_what_was_read_does_not_wait_for_each_look_at_other_lanes(away: bool) -> None:
    reader: Any = FarReader(away)
    done, all_done = 0, asyncio.Event()

    def deliver(fact: Any, progress: Any) -> None:
        nonlocal done
        done += 1
        progress.end_fact(EVENT_HANDLED)
        if done % TURN_FACTS == 0:
            time.sleep(TURN_S)  # the work of a turn
        if done == ENTRIES * TURN_FACTS:
            all_done.set()

    handling: Any = SimpleNamespace(deliver=deliver)
    routes: Any = SimpleNamespace(saw=lambda node: None)
    lanes = {number: Lane(Lease(number, "app1", 1), float("inf"), lambda: 0.0) for number in (0, 1)}
    keeper: Any = SimpleNamespace(readable={0, 1}, held=lanes, changed=asyncio.Event())
    counters = Counters()
    letters = DeadLetters(reader, counters)
    consumer = Consumer(reader, routes, 1 << 30, counters, handling=handling, condemned=handling, letters=letters)
    reading = asyncio.create_task(consumer.run_read(keeper))
    await asyncio.wait_for(all_done.wait(), 20)
    assert reader.asked[0] == [0, 1]
    assert [1] in reader.asked[1:]  # others have their turn
    assert len(reader.asked) < ENTRIES / 2
    reading.cancel()
    await asyncio.wait([reading])
