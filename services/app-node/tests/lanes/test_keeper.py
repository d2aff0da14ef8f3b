"""The keeper of lanes alone: leases, reader and registry are played by the test."""

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.streams.api.lanes import Claimed
from sio_cluster.streams.api.leases import Lease


class Leases:
    def __init__(self) -> None:
        self.acquired: list[tuple[int, bool]] = []  # lanes, and whether their holder stood still
        self.elsewhere: set[int] = set()

    async def acquire(self, lane: int, node_id: str, lease_ms: int, *, stood_still: bool = False) -> Lease | None:
        if lane in self.elsewhere:
            return None
        self.acquired.append((lane, stood_still))
        return Lease(lane, node_id, 1)

    async def renew(self, leases: Collection[Lease], lease_ms: int) -> set[int]:
        return set()

    async def bar_former(self, leases: Collection[Lease]) -> set[str]:
        return set()

    async def release(self, lease: Lease, *, settled: bool = True) -> None:
        pass


class Reader:
    """No lane has anything left."""

    async def claim(self, lane: int) -> Claimed:
        return Claimed([])

    async def interrupt(self) -> None:
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


def keeper_of(
    reader: Reader | StalledReader, leases: Leases, clock: Clock, lanes: int = 1, quarantined: Collection[int] = ()
) -> LaneKeeper:
    """With a lease of one second."""
    return LaneKeeper(
        node_id="app1",
        lanes=lanes,
        lease_ms=1_000,
        handover_ms=1_000,
        leases=leases,
        reader=reader,
        registry=AppNodes(),
        clock=clock,
        counters=Counters(),
        on_take=take,
        on_lost=lambda lane: None,
        quarantined=lambda: quarantined,
        settled=settled,
    )


async def test_a_lease_that_runs_out_while_its_lane_is_taken_ends_no_loop() -> None:
    now = 0.0
    reader = StalledReader()
    keeper = keeper_of(reader, Leases(), lambda: now)
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


@pytest.mark.parametrize(
    ("looked_at", "stood_still"),
    [([0.1 * step for step in range(1, 11)], False), ([1.0], True), ([0.1, 0.2, 0.95], True)],
)
async def test_lanes_that_are_lost_by_a_loop_that_stood_still_are_acquired_as_such(
    looked_at: list[float], stood_still: bool
) -> None:
    """One whose renewals got no answer, while its loop turned, is not the reason."""
    now = 0.0
    leases = Leases()
    keeper = keeper_of(Reader(), leases, lambda: now, lanes=2)
    await keeper.plan()
    assert leases.acquired == [(0, False), (1, False)]
    leases.acquired.clear()
    for at in looked_at:
        now = at
        keeper.check()
    assert not keeper.held
    await keeper.plan()
    assert leases.acquired == [(0, stood_still), (1, stood_still)]
    leases.acquired.clear()
    await keeper.renew()  # they are lost again, and the loop turns
    await keeper.plan()
    assert leases.acquired == [(0, False), (1, False)]


async def test_the_only_app_node_acquires_a_quarantine_after_all_its_lanes() -> None:
    """What is in there may end it, and the lanes of one that has died are not free yet."""
    leases = Leases()
    leases.elsewhere = {1}
    keeper = keeper_of(Reader(), leases, lambda: 0.0, lanes=2, quarantined=[0])
    for _ in range(3):
        await keeper.plan()
    assert leases.acquired == [(0, False)]
    leases.elsewhere.clear()
    for _ in range(3):
        await keeper.plan()
    assert leases.acquired == [(0, False), (1, False), (quarantine_of(0), False)]


async def test_a_quarantine_that_is_lost_is_named_by_its_lane() -> None:
    now = 0.0
    keeper = keeper_of(Reader(), Leases(), lambda: now, lanes=3, quarantined=[2])
    for _ in range(3):
        await keeper.plan()
    now = 2.0
    with structlog.testing.capture_logs() as logs:
        keeper.check()
    lost = [(line["lane"], line.get("quarantine")) for line in logs if line["event"] == "lane_lost"]
    assert lost == [(0, None), (1, None), (2, None), (2, True)]
