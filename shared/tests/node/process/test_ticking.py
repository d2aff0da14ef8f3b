"""What an HTTP server does while nobody asks it anything."""

import asyncio

import pytest

from sio_cluster.node.process import ticking
from sio_cluster.node.process.ticking import tick


async def test_it_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "PAUSE_S", 3_600)
    ended, ticks = asyncio.Event(), 0

    async def once() -> bool:
        nonlocal ticks
        ticks += 1
        asyncio.get_running_loop().call_soon(ended.set)
        return ended.is_set()

    async with asyncio.timeout(10):
        await tick(once, ended)
    assert ticks == 2


async def test_it_ticks_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ticking, "PAUSE_S", 0.001)
    ticks = 0

    async def once() -> bool:
        nonlocal ticks
        ticks += 1
        return ticks == 5

    await tick(once, asyncio.Event())
    assert ticks == 5
