"""What could end or stop an app-node, and must not."""

import asyncio
from typing import Any

from app_node.counters import Counters
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.uplink.turns import Turns
from sio_cluster.node.config import Config
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.redis.lanes import LaneEntry
from sio_cluster.streams.redis.records import Under


class Leases:
    async def acquire(self, lane: int, holder: str, lease_ms: int) -> int | None:
        return 1

    async def renew(self, tokens: Any, holder: str, lease_ms: int) -> set[int]:
        return set()

    async def bar_former(self, tokens: Any, holder: str) -> set[str]:
        return set()

    async def release(self, lane: int, holder: str, token: int, *, settled: bool) -> None:
        pass


class StalledReader:
    """Redis stalls while the entries of a lane are fetched, for longer than a lease."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def claim(self, lane: int) -> list[Any]:
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


async def test_a_few_slow_handlers_do_not_stop_the_reading(make_stage: Any, memory_stage: Any) -> None:
    """Each holds its own part of MAX_INFLIGHT_BYTES, not that of all events that came in the same entry."""
    settings = {"lanes": 1, "lease_ms": 2_000, "shutdown_ms": 1_000, "max_inflight_bytes": 40_000}
    stage = make_stage(Config(**settings), memory_stage.streams, None)
    sio, io = stage.server(), await stage.io_node()
    go, slow, quick = asyncio.Event(), 0, 0

    @sio.event
    async def wait(sid: str) -> None:
        nonlocal slow
        slow += 1
        await go.wait()

    @sio.event
    async def note(sid: str, text: str) -> None:
        nonlocal quick
        quick += 1

    await sio.start()
    sid = await io.connect()
    for _ in range(10):
        await io.send(stage.event(sid, "wait"), *[stage.event(sid, "note", "x" * 500) for _ in range(20)])
    async with asyncio.timeout(5):
        while quick < 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert slow == 10
    go.set()
    await io.settle()
    assert sio.node.consumer.inflight_bytes == 0
    await stage.stop()


async def test_a_flood_of_tiny_events_waits_in_redis(make_stage: Any, memory_stage: Any) -> None:
    """A million of them in work, of 50 bytes each, were 700 MB of objects and tasks."""
    settings = {"lanes": 1, "lease_ms": 2_000, "shutdown_ms": 1_000, "max_inflight_bytes": 100_000}
    stage = make_stage(Config(**settings), memory_stage.streams, None)
    sio, io = stage.server(), await stage.io_node()
    seen: list[int] = []
    running = most = 0

    @sio.event
    async def tick(sid: str, number: int) -> None:
        nonlocal running, most
        seen.append(number)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1

    await sio.start()
    sid = await io.connect()
    for start in range(0, 2_000, 50):
        await io.send(*[stage.event(sid, "tick", number) for number in range(start, start + 50)])
    await io.settle()
    assert seen == list(range(2_000))
    assert most < 200
    assert sio.node.consumer.inflight_bytes == 0
    await stage.stop()


def test_lanes_take_turns() -> None:
    def entry(lane: int, number: int) -> LaneEntry:
        return LaneEntry(lane, b"%d-0" % number, b"", False)

    lanes = {number: Lane(Under(number, "app1", 1), float("inf"), lambda: 0.0) for number in (1, 2, 3)}
    flooded, other, third = [entry(3, n) for n in range(4)], [entry(1, 9)], [entry(2, n) for n in range(2)]
    turns = Turns()
    assert not turns
    for one in (*flooded, *other, *third):
        turns.put(lanes[one.lane], one)
    taken = [turns.next()[1] for _ in range(4)]
    assert 1 not in turns
    turns.put(lanes[1], entry(1, 10))  # came while the long lane was worked on
    while turns:
        lane, one = turns.next()
        assert lane is lanes[one.lane]
        taken.append(one)
    assert taken == [flooded[0], other[0], third[0], flooded[1], third[1], flooded[2], entry(1, 10), flooded[3]]
