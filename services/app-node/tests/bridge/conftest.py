"""A bridge in this process, between a Valkey of its own and a stage."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from app_node.bridge.process import Bridge
from sio_cluster.testing.valkey import Valkey, start_valkey


@pytest.fixture(scope="module")
def foreign_server() -> Iterator[Valkey]:
    """The Redis of the other programs. Persistent, so that it may be restarted."""
    with start_valkey(appendonly="yes", appendfsync="always") as server:
        yield server


class World:
    """An io-node played by the test, and bridges."""

    def __init__(self, stage: Any, server: Valkey) -> None:
        self.stage = stage
        self.server = server
        self.redis = Redis.from_url(server.url)
        self.bridges: list[Bridge] = []

    async def bridge(self, **settings: Any) -> Bridge:
        """One more bridge, which has started."""
        config = self.stage.config.model_copy(update={"bridge_redis_url": self.server.url, **settings})
        bridge = Bridge(config, make_bus=self.stage.make_bus)
        self.bridges.append(bridge)
        await bridge.start()
        return bridge

    async def active(self, **settings: Any) -> Bridge:
        """A bridge that listens and reads."""
        bridge = await self.bridge(**settings)
        await self.until(lambda: bridge.lease.held and not bridge.unready_because)
        await self.until_async(lambda: self.redis.exists(f"{bridge.config.redis_prefix}:{{bridge}}:position:socket.io"))
        return bridge

    async def until(self, condition: Callable[[], object]) -> None:
        await self.stage.until(condition)

    async def until_async(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(25):
            while not await condition():  # Redis tells nobody
                await asyncio.sleep(0.01)

    async def crash(self, bridge: Bridge) -> None:
        """As kill -9: it frees nothing, and stores nothing."""
        self.bridges.remove(bridge)
        await bridge.loops.stop()
        await bridge._redis.close()
        await bridge._sio.shutdown()

    async def stop(self) -> None:
        for bridge in self.bridges:
            await bridge.stop()
        await self.redis.aclose()


@pytest.fixture
async def world(memory_stage: Any, foreign_server: Valkey) -> AsyncIterator[World]:
    world = World(memory_stage, foreign_server)
    await world.redis.flushall()
    yield world
    await world.stop()
