"""What an io-node got, for tests that have no event loop."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.ids import new_node_id, new_sid
from sio_cluster.protocol.messages import LEVEL, ClientConnected, Command, Emit, Handshake, Room
from sio_cluster.streams.api.presences import Meta
from sio_cluster.streams.api.records import Accepted, Joined
from sio_cluster.streams.redis import RedisBus

_T = TypeVar("_T")


class Ear:
    """An io-node that only listens: what has arrived in its inbox. Not from inside of an event loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.id = new_node_id("io1", os.urandom)
        self.sid = new_sid(self.id, os.urandom)

    def register(self, level: int = LEVEL) -> None:
        async def register(bus: RedisBus) -> None:
            await bus.registry.register_io_node(self.id, {"level": str(level)})
            await bus.registry.heartbeat(self.id, ttl_ms=60_000)

        self._run(register)

    def let_in(self, *rooms: Room) -> str:
        """A client that is connected and in these rooms, as far as its record says. Its sid."""
        sid = new_sid(self.id, os.urandom)
        connected = ClientConnected(sid, "c1", "/", None, Handshake("GET", "/", "", [], "10.1.2.3", 99), "polling")

        async def store(bus: RedisBus) -> None:
            await bus.records.store([connected])
            await bus.records.update([Accepted(sid), *[Joined(sid, "/", room) for room in rooms]])

        self._run(store)
        return sid

    def commands(self) -> list[Command]:
        """Everything that has arrived since it was registered."""

        async def read(bus: RedisBus) -> list[Command]:
            entries = await bus.connections.run(("XRANGE", bus.keys.inbox(self.id), "-", "+"))
            return [command for _, fields in entries[0] for command in decode_downlink(fields[1]).commands]

        return self._run(read)

    def packets(self) -> list[str]:
        return [command.packet.decode() for command in self.commands() if isinstance(command, Emit)]

    def keys(self) -> dict[str, set[str]]:
        """Every key of the cluster, and the fields of those that are hashes."""

        async def look(bus: RedisBus) -> dict[str, set[str]]:
            [names] = await bus.connections.run(("KEYS", f"{self.config.redis_prefix}:*"))
            kinds = await bus.connections.run(*[("TYPE", name) for name in names])
            found: dict[str, set[str]] = {}
            for name, kind in zip(names, kinds, strict=True):
                fields = await bus.connections.run(("HKEYS", name)) if kind == b"hash" else [[]]
                found[name.decode()] = {field.decode() for field in fields[0]}
            return found

        return self._run(look)

    def show(self, room: Room, key: str) -> None:
        """A client enters this room, and is present there under this key."""
        sid = self.let_in(room)

        async def show(bus: RedisBus) -> None:
            await bus.presences.show(sid, Meta("/", room, key, b'{"tab":1}', os.urandom(8).hex()), 1000)

        self._run(show)

    def _run(self, question: Callable[[RedisBus], Awaitable[_T]]) -> _T:
        async def ask() -> _T:
            bus = RedisBus(self.config)
            try:
                await bus.start()
                return await question(bus)
            finally:
                await bus.stop()

        return asyncio.run(ask())


@pytest.fixture
def ear(redis_config: Config) -> Ear:
    ear = Ear(redis_config)
    ear.register()
    return ear
