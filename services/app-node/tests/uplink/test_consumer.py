"""The consumer's reading alone: reader and dispatcher are played by the test."""

import asyncio
import time
from collections.abc import Collection
from types import SimpleNamespace
from typing import Any

import pytest

from app_node.counters import EVENT_HANDLED, Counters
from app_node.lanes.lane import Lane
from app_node.uplink.consumer import TURN_FACTS, Consumer
from sio_cluster.protocol.codec import encode_uplink
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.messages import EventReceived
from sio_cluster.streams.api import LaneEntry, Lease

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

    dispatcher: Any = SimpleNamespace(deliver=deliver)
    routes: Any = SimpleNamespace(saw=lambda node: None)
    lanes = {number: Lane(Lease(number, "app1", 1), float("inf"), lambda: 0.0) for number in (0, 1)}
    keeper: Any = SimpleNamespace(readable={0, 1}, held=lanes, changed=asyncio.Event())
    consumer = Consumer(reader, dispatcher, routes, 1 << 30, Counters())
    reading = asyncio.create_task(consumer.run_read(keeper))
    await asyncio.wait_for(all_done.wait(), 20)
    assert reader.asked[0] == [0, 1]
    assert [1] in reader.asked[1:]  # others have their turn
    assert len(reader.asked) < ENTRIES / 2
    reading.cancel()
    await asyncio.wait([reading])
