"""Packets to Redis vanish: every connection notices, and comes back."""

import asyncio
import time

import pytest
from structlog.testing import capture_logs

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.connection import pack
from sio_cluster.streams.redis.rights import RIGHTS
from sio_cluster.testing.contract import Writer, read_bodies
from sio_cluster.testing.proxy import proxy_to
from sio_cluster.testing.valkey import Valkey, start_valkey

pytestmark = pytest.mark.slow
APP1, IO1 = "app-aaaaaa", "io1-aaaaaa"


async def test_one_that_notices_closes_them_all(valkey: Valkey, redis_config: Config) -> None:
    async with proxy_to("127.0.0.1", valkey.port) as proxy:
        config = Config(REDIS_URL=f"redis://127.0.0.1:{proxy.port}", REDIS_PREFIX=redis_config.redis_prefix)
        bus = RedisBus(config, timeout_s=0.3)
        await bus.start()
        inbox, lane = bus.inbox_reader(IO1), bus.lane_reader(APP1)
        await bus.leases.acquire(0, APP1, 60_000)
        await lane.claim(0)
        reads = [asyncio.create_task(read_bodies(inbox, 60_000)), asyncio.create_task(lane.read([0], 60_000, 10))]
        while proxy.accepted < 3:
            await asyncio.sleep(0.01)
        proxy.vanish()
        begun = time.monotonic()
        with pytest.raises(BusUnavailable):
            await bus.connections.run(("PING",))
        for read in reads:
            with pytest.raises(BusUnavailable):
                await read
        assert time.monotonic() - begun < 2
        writer = Writer(bus.appender, bus.keys.inbox(IO1), APP1)
        await writer.write(b"a")
        assert await read_bodies(inbox, 5_000) == [b"a"]
        assert proxy.accepted == 5
        await bus.stop()


async def test_a_process_that_stood_still_finds_its_answer(valkey: Valkey, redis_config: Config) -> None:
    """Its time is up, but the answer came long ago."""
    bus = RedisBus(redis_config, timeout_s=0.2)
    await bus.start()
    asked = asyncio.create_task(bus.connections.run(("PING",)))
    await asyncio.sleep(0)
    time.sleep(1.0)  # noqa: ASYNC251
    assert await asked == [b"PONG"]
    await bus.stop()


async def test_a_connection_that_was_given_up_is_closed_at_redis_too(valkey: Valkey, redis_config: Config) -> None:
    """A read that is still on its way there would take entries and tell nobody."""
    async with proxy_to("127.0.0.1", valkey.port) as proxy:
        config = Config(REDIS_URL=f"redis://127.0.0.1:{proxy.port}", REDIS_PREFIX=redis_config.redis_prefix)
        bus, other = RedisBus(config, timeout_s=0.2), RedisBus(Config(REDIS_URL=valkey.url))
        connection = bus.connections.new_reader()
        await connection.ready()
        former = connection.greeted[0]
        proxy.vanish()
        with pytest.raises(BusUnavailable):
            await connection.run_alone(pack([("BLPOP", "nothing", 1)]), 1, 1)
        assert await other.connections.run(("CLIENT", "LIST", "ID", former)) != [b""]
        await connection.ready()
        assert connection.greeted[0] != former
        assert await other.connections.run(("CLIENT", "LIST", "ID", former)) == [b""]
        await bus.stop()
        await other.stop()


async def test_a_user_who_may_not_kill_connections_gets_new_ones_all_the_same() -> None:
    with start_valkey() as server:
        async with proxy_to("127.0.0.1", server.port) as proxy:
            owner = RedisBus(Config(REDIS_URL=server.url))
            rights = set(RIGHTS.split()) - {"+client|kill"}
            await owner.connections.run(("ACL", "SETUSER", "node", "on", ">secret", "~sio:*", *rights))
            bus = RedisBus(Config(REDIS_URL=f"redis://node:secret@127.0.0.1:{proxy.port}"), timeout_s=0.3)
            await bus.start()
            proxy.vanish()
            with pytest.raises(BusUnavailable):
                await bus.connections.run(("PING",))
            with capture_logs() as lines:
                assert await bus.connections.run(("PING",)) == [b"PONG"]
                assert await Writer(bus.appender, bus.keys.inbox(IO1), APP1).write(b"a") == [AppendResult.APPENDED]
            assert [line["event"] for line in lines if "kill" in line["event"]] == ["redis_client_kill_refused"]
            await bus.stop()
            await owner.stop()


async def test_after_a_restart_of_redis_nobody_else_is_closed() -> None:
    """Its client ids begin anew, so that the one we gave up is somebody else's by now."""
    with start_valkey() as server:
        bus, other = RedisBus(Config(REDIS_URL=server.url)), RedisBus(Config(REDIS_URL=server.url))
        connection = bus.connections.new_reader()
        await connection.ready()
        former = connection.greeted[0]
        connection.drop("given up")
        server.restart()
        others = [other.connections.new_reader() for _ in range(former + 3)]
        for one in others:
            await one.ready()
        assert former in [one.greeted[0] for one in others]
        await connection.ready()
        for one in others:
            assert await one.run([("PING",)]) == [b"PONG"]
        await bus.stop()
        await other.stop()


async def test_the_connection_for_commands_too(valkey: Valkey, redis_config: Config) -> None:
    """An append that arrives there late would come after its sender's numbers were forgotten."""
    async with proxy_to("127.0.0.1", valkey.port) as proxy:
        config = Config(REDIS_URL=f"redis://127.0.0.1:{proxy.port}", REDIS_PREFIX=redis_config.redis_prefix)
        bus, other = RedisBus(config, timeout_s=0.2), RedisBus(Config(REDIS_URL=valkey.url))
        [former] = await bus.connections.run(("CLIENT", "ID"))
        proxy.vanish()
        with pytest.raises(BusUnavailable):
            await bus.connections.run(("PING",))
        assert await other.connections.run(("CLIENT", "LIST", "ID", former)) != [b""]
        assert await bus.connections.run(("CLIENT", "ID")) != [former]
        assert await other.connections.run(("CLIENT", "LIST", "ID", former)) == [b""]
        await bus.stop()
        await other.stop()
