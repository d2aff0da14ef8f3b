"""What bounds the work that an app-node takes on: MAX_INFLIGHT_BYTES, and what a fact in work counts for."""

import asyncio
from typing import Any

from sio_cluster.node.settings.config import Config


async def test_a_few_slow_handlers_do_not_stop_the_reading(make_stage: Any, memory_stage: Any) -> None:
    """Each holds its own part of MAX_INFLIGHT_BYTES, not that of all events that came in the same entry."""
    settings = {"lanes": 1, "lease_ms": 2_000, "shutdown_ms": 1_000, "max_inflight_bytes": 40_000}
    stage = make_stage(Config(**settings), memory_stage.make_bus, None)
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
        while quick < 200:
            await asyncio.sleep(0.01)
    assert slow == 10
    go.set()
    await io.settle()
    assert sio.node.uplink.consumer.inflight_bytes == 0
    await stage.stop()


async def test_a_flood_of_tiny_events_waits_in_redis(make_stage: Any, memory_stage: Any) -> None:
    """A million of them in work, of 50 bytes each, were 700 MB of objects and tasks."""
    settings = {"lanes": 1, "lease_ms": 2_000, "shutdown_ms": 1_000, "max_inflight_bytes": 100_000}
    stage = make_stage(Config(**settings), memory_stage.make_bus, None)
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
    assert sio.node.uplink.consumer.inflight_bytes == 0
    await stage.stop()
