"""A home in Redis, and what stands there about it."""

from typing import Any

import pytest

from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.inboxes import InboxReader
from sio_cluster.streams.api.records import Accepted, Joined
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer, read_bodies

from .real_server import APP1, IO1

IO2 = "io2-aaaaaa"
SID, OTHER = f"{IO1}.{1:016d}", f"{IO1}.{2:016d}"
HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)
HASH = b"h" * 32
START = b"0-0"


async def opened(bus: RedisBus, *sids: str) -> InboxReader:
    """A home with a log of two entries that were read, and with these clients, each in the room "x"."""
    reader = bus.inbox_reader(IO1, keeps_log=True)
    await bus.registry.register_io_node(IO1, {})
    await bus.records.store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling", HASH) for sid in sids])
    await bus.records.update([Accepted(sid) for sid in sids] + [Joined(sid, "/", "x") for sid in sids])
    await Writer(bus.appender, bus.keys.inbox(IO1), APP1).write(b"a", b"b")
    assert await read_bodies(reader, 0) == [b"a", b"b"]
    return reader


async def ids(bus: RedisBus) -> list[bytes]:
    return [entry.id for entry in await bus.homes.page(IO1, START)]


def fail_at(bus: RedisBus, monkeypatch: pytest.MonkeyPatch, number: int, *, lost_answer: bool) -> None:
    """The call of this number from now on, from 1, does not reach Redis, or its answer does not come back."""
    run, calls = bus.connections.run, 0

    async def failing(*commands: Any) -> Any:
        nonlocal calls
        calls += bool(commands)
        if calls != number:
            return await run(*commands)
        if lost_answer:
            await run(*commands)
        raise BusUnavailable("the test has cut the connection")

    monkeypatch.setattr(bus.connections, "run", failing)


async def keys_of_home(bus: RedisBus) -> set[str]:
    [keys] = await bus.connections.run(("KEYS", f"{bus.keys.prefix}:{{node:{IO1}}}:*"))
    return {key.decode().partition("}:")[2] for key in keys}


async def room_index(bus: RedisBus) -> list[bytes]:
    [keys] = await bus.connections.run(("KEYS", bus.keys.of_lane(0).replace("{lane:0}", "{lane:*}") + "room:*"))
    return [sid for members in await bus.connections.run(*[("SMEMBERS", key) for key in keys]) for sid in members]


async def expire(bus: RedisBus, sid: str) -> None:
    """The time of a client that is away ends now."""
    client = bus.keys.client(lane_of(sid, 16), sid)
    await bus.connections.run(("HSET", client, "away", 1), ("ZADD", bus.keys.away(IO1), 1, sid))
