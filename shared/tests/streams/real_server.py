"""For tests of what only a real server can do."""

import asyncio

from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.lanes import LaneReader
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.connection import Connection

APP1, IO1 = "app-aaaaaa", "io1-aaaaaa"
QUICK_S = 0.2
BLOCK_MS = 10_000
LONG_MS = 60_000
HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)


async def persist(bus: RedisBus) -> None:
    """Tries until Redis answers, as every caller of the bus does."""
    backoff = Backoff(5, 50)
    async with asyncio.timeout(10):
        while True:
            try:
                await bus.connections.run(("PING",))
                return
            except BusUnavailable:
                await asyncio.sleep(next(backoff))


async def hold(bus: RedisBus, lane: int = 0) -> tuple[LaneReader, Lease]:
    lease = await bus.leases.acquire(lane, APP1, LONG_MS)
    assert lease is not None
    reader = bus.lane_reader(APP1)
    await reader.claim(lane)
    return reader, lease


async def cut(bus: RedisBus, connection: Connection) -> None:
    """Redis closes this connection, and its owner has noticed. Else the next command may still leave on it."""
    wire = connection._wire
    assert wire is not None
    await bus.connections.run(("CLIENT", "KILL", "ID", connection.greeted[0]))
    async with asyncio.timeout(5):
        while wire.lost is None:
            await asyncio.sleep(0.001)


def connected(number: int) -> ClientConnected:
    return ClientConnected(f"{IO1}.{number:016d}", "c", "/", None, HANDSHAKE, "polling", bytes(32))
