"""The HTTP API in the test's own event loop, on a real Valkey, with an io-node that only listens."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app_node import get_client
from app_node.api.keys import KeyFile
from app_node.api.once import Once
from app_node.api.serving import make_api
from app_node.interface.server import ClusterServer
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.ids import new_node_id, new_sid
from sio_cluster.protocol.messages import LEVEL, ClientConnected, Command, Emit, Handshake, Room
from sio_cluster.streams.api.records import Accepted, Joined
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.configs import config_of

ADMIN, SHOP, WATCH = "admin-key-0123456789", "shop-key-0123456789", "watch-key-0123456789"
COUNTER = "counter-key-0123456789"
KEYS = f"""
# who      key
admin      {ADMIN}
shop       {SHOP}    verbs=emit,enter_room  namespaces=/shop
counter    {COUNTER} verbs=disconnect,disconnect_room  namespaces=/shop
watch      {WATCH}   verbs=info
"""


@dataclass
class World:
    """`post` and `get` ask the API, `packets` is what clients would get."""

    config: Config
    sio: ClusterServer
    once: Once
    http: httpx.AsyncClient
    bus: RedisBus
    io_node: str
    sid: str
    api_keys: Path

    async def post(self, verb: str, body: Any, key: str | None = ADMIN, **headers: str) -> httpx.Response:
        if key is not None:
            headers["X-API-Key"] = key
        options: Any = {"content": body} if isinstance(body, bytes) else {"json": body}
        if isinstance(body, bytes):
            headers.setdefault("Content-Type", "application/json")
        return await self.http.post(f"/api/{verb}", headers=headers, **options)

    async def commands(self) -> list[Command]:
        [entries] = await self.bus.connections.run(("XRANGE", self.bus.keys.inbox(self.io_node), "-", "+"))
        return [command for _, fields in entries for command in decode_downlink(fields[1]).commands]

    async def let_in(self, *rooms: Room) -> None:
        """The client is connected and in these rooms, as far as its record says."""
        await self.bus.records.update([Accepted(self.sid), *[Joined(self.sid, "/", room) for room in rooms]])

    async def packets(self) -> list[str]:
        return [command.packet.decode() for command in await self.commands() if isinstance(command, Emit)]


async def open_world(config: Config, folder: Path) -> World:
    """A world whose io-node has one client, which nobody has let in yet: its record is there."""
    bus = RedisBus(config)
    await bus.start()
    io_node = new_node_id("io1", os.urandom)
    await bus.registry.register_io_node(io_node, {"level": str(LEVEL)})
    await bus.registry.heartbeat(io_node, 600_000)
    sid = new_sid(io_node, os.urandom)
    handshake = Handshake("GET", "/socket.io/", "EIO=4", [], "10.1.2.3", 99)
    await bus.records.store([ClientConnected(sid, "c1", "/", None, handshake, "polling")])
    path = folder / "keys"
    path.write_text(KEYS)
    sio = get_client(config)
    once, api = make_api(sio, KeyFile(path))
    transport = httpx.ASGITransport(app=api.app, raise_app_exceptions=False)
    http = httpx.AsyncClient(transport=transport, base_url="http://api", timeout=30)
    return World(config, sio, once, http, bus, io_node, sid, path)


async def close_world(world: World) -> None:
    await world.http.aclose()
    await world.once.stop(0)
    await world.sio.shutdown()
    await world.bus.stop()


@pytest.fixture
async def world(redis_config: Config, tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(redis_config, tmp_path) as world:
        yield world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_world(node_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One for all tests of a module that change nothing in it. Most of a world's 0.15 s of CPU is FastAPI's routes."""
    folder = tmp_path_factory.mktemp("world")
    config = config_of(REDIS_URL=node_url).model_copy(update={"redis_prefix": f"t{os.getpid()}.{folder.name}"})
    async with running_world(config, folder) as world:
        yield world


@asynccontextmanager
async def running_world(config: Config, folder: Path) -> AsyncIterator[World]:
    world = await open_world(config.model_copy(update={"api_max_body_bytes": 20_000}), folder)
    await asyncio.wait_for(world.sio.node.open_callbacks(), 10)
    yield world
    await close_world(world)
