"""Thousands of facts at once: batches and records are made in turns, and other work of the loop goes on in between."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence

from io_node.backpressure import Backpressure
from io_node.bus.counters import BusCounters
from io_node.bus.fairness import Fairness
from io_node.bus.uplink import Uplink, UplinkLimits
from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

from .fakes import NODE, connected, event, running

LANES = 8


class World:
    """An uplink whose time goes on by 1 ms at each look. It stands before the bus, and counts turns of the loop."""

    def __init__(self) -> None:
        self.turns = 0
        self.first_append_after: int | None = None
        self.stored: list[int] = []
        self._bus = MemoryBus(config_of(), MemoryBroker())
        backpressure, looks = Backpressure(), itertools.count()
        self.uplink = Uplink(
            NODE,
            self._bus.keys,
            UplinkLimits(100_000_000, 100_000_000, 100_000_000),
            appender=self,
            records=self,  # type: ignore[arg-type]  # only `store` is called
            counters=BusCounters(),
            backpressure=backpressure,
            fairness=Fairness(self, 64_000, backpressure=backpressure, retry=Retry("fairness", Counter())),
            retry=Retry("uplink", Counter()),
            is_gone=lambda app_node: False,
            is_alive=self.is_alive,
            waits=Histogram(),
            clock=lambda: next(looks) / 1000,
        )

    async def is_alive(self, node_id: str) -> bool:
        return True

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        if self.first_append_after is None:
            self.first_append_after = self.turns
        return await self._bus.appender.append(appends)

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        return await self._bus.appender.held_bytes(streams)

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        return await self._bus.appender.bars(streams, node_id)

    async def store(self, clients: Sequence[ClientConnected]) -> None:
        self.stored.append(len(clients))
        await self._bus.records.store(clients)

    async def count_turns(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


async def test_batches_for_many_lanes_are_made_in_turns() -> None:
    world = World()
    for number in range(40 * LANES):
        world.uplink.put(number % LANES, event(number), None)
    async with running(world.count_turns), running(world.uplink.run):
        assert await world.uplink.emptied(5)
    assert world.first_append_after is not None
    assert world.first_append_after >= 2
    assert world.uplink.waiting_bytes == 0


async def test_records_of_many_new_clients_are_stored_in_parts() -> None:
    world = World()
    for number in range(1_200):
        world.uplink.put(number % LANES, connected(number), None)
    async with running(world.uplink.run):
        assert await world.uplink.emptied(5)
    assert world.stored == [500, 500, 200]
