"""Connections to Redis: shared by many callers, closed, refused, and left for a better one."""

import asyncio

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusRefused, BusUnavailable, ConfigError
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.connection import Connection
from sio_cluster.testing.contract import Writer
from sio_cluster.testing.valkey import Valkey

from .real_server import BLOCK_MS, IO1

pytestmark = pytest.mark.slow


class TestConnection:
    async def test_a_caller_that_is_cancelled_leaves_the_others_alone(self, bus: RedisBus) -> None:
        asked = [asyncio.create_task(bus.connections.run(("ECHO", b"%d" % number))) for number in range(50)]
        await asyncio.sleep(0)
        for task in asked[::2]:
            task.cancel()
        answers = await asyncio.gather(*asked[1::2])
        assert answers == [[b"%d" % number] for number in range(1, 50, 2)]

    async def test_the_first_error_of_several_commands(self, bus: RedisBus) -> None:
        with pytest.raises(BusRefused, match="NONSENSE"):
            await bus.connections.run(("SET", "x", 1), ("NONSENSE",), ("SET", "y", 1))
        assert await bus.connections.run(("EXISTS", "x", "y")) == [2]

    async def test_stop_ends_blocked_reads_and_start_begins_anew(self, bus: RedisBus) -> None:
        reader = bus.inbox_reader(IO1)
        reading = asyncio.create_task(reader.read(BLOCK_MS))
        await bus.connections.run(("PING",))
        await bus.stop()
        await bus.stop()
        with pytest.raises(BusUnavailable):
            await reading
        await bus.start()
        await reader.close()
        await reader.close()

    async def test_stop_while_it_connects(self) -> None:
        silent = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        bus = RedisBus(Config(REDIS_HOST="127.0.0.1", REDIS_PORT=port))
        starting = asyncio.create_task(bus.start())
        await asyncio.sleep(0)
        await bus.stop()
        with pytest.raises(BusUnavailable):
            await starting
        silent.close()

    async def test_a_server_that_speaks_otherwise(self) -> None:
        async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        other = await asyncio.start_server(babble, "127.0.0.1", 0)
        connection = Connection(f"redis://127.0.0.1:{other.sockets[0].getsockname()[1]}")
        with pytest.raises(BusUnavailable):
            await connection.run([("PING",)])
        await connection.close()
        other.close()


class TestRefusal:
    async def test_a_replica_is_left(self, bus: RedisBus) -> None:
        writer = Writer(bus.appender, bus.keys.uplink(0))
        [before] = await bus.connections.run(("CLIENT", "ID"))
        await bus.connections.run(("REPLICAOF", "127.0.0.1", 1))
        with pytest.raises(BusRefused, match="READONLY"):
            await writer.write_as(1, b"a")
        await bus.connections.run(("REPLICAOF", "NO", "ONE"))
        assert await writer.write_as(1, b"a") is AppendResult.APPENDED
        [after] = await bus.connections.run(("CLIENT", "ID"))
        assert after > before

    async def test_databases_are_apart(self, server: Valkey, bus: RedisBus) -> None:
        other = RedisBus(Config(REDIS_URL=server.url.removesuffix("/0") + "/5"))
        await other.start()
        await other.connections.run(("SET", "x", 1))
        assert await bus.connections.run(("EXISTS", "x")) == [0]
        await other.stop()

    def test_an_address_that_is_none(self) -> None:
        with pytest.raises(ConfigError, match="REDIS_URL"):
            RedisBus(Config(REDIS_URL="redis://localhost/0?socket_timeout=soon"))
