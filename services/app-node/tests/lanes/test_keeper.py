"""The keeper of lanes alone: leases, reader and registry are played by the test."""

import asyncio
from collections.abc import Collection
from typing import Any

from app_node.counters import Counters
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.api.lanes import Claimed
from sio_cluster.streams.api.leases import Lease


class Leases:
    async def acquire(self, lane: int, node_id: str, lease_ms: int) -> Lease | None:
        return Lease(lane, node_id, 1)

    async def renew(self, leases: Collection[Lease], lease_ms: int) -> set[int]:
        return set()

    async def bar_former(self, leases: Collection[Lease]) -> set[str]:
        return set()

    async def release(self, lease: Lease, *, settled: bool = True) -> None:
        pass


class StalledReader:
    """Redis stalls while the entries of a lane are fetched, for longer than a lease."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def claim(self, lane: int) -> Claimed:
        self.asked.set()
        await self.answer.wait()
        raise BusUnavailable("no answer from Redis in time")

    async def interrupt(self) -> None:
        pass


class AppNodes:
    async def app_nodes(self) -> dict[str, dict[str, str]]:
        return {"app1": {"state": "running"}}


async def take(lane: Any, entries: Any) -> None:
    pass


async def settled(lane: Lane) -> None:
    await lane.idle.wait()


async def test_a_lease_that_runs_out_while_its_lane_is_taken_ends_no_loop() -> None:
    now = 0.0
    reader = StalledReader()
    keeper = LaneKeeper(
        node_id="app1",
        lanes=1,
        lease_ms=1_000,
        handover_ms=1_000,
        leases=Leases(),
        reader=reader,
        registry=AppNodes(),
        clock=lambda: now,
        counters=Counters(),
        on_take=take,
        on_lost=lambda lane: None,
        quarantined=list,
        settled=settled,
    )
    planning = asyncio.create_task(keeper.run_plan())
    await reader.asked.wait()
    now = 2.0
    keeper.check()  # as run_watch does
    reader.asked.clear()
    reader.answer.set()
    asked = asyncio.ensure_future(reader.asked.wait())
    await asyncio.wait({planning, asked}, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    assert not planning.done()
    assert asked.done()  # it tries again
    planning.cancel()
    await asyncio.wait([planning])
