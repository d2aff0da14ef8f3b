"""Whom Redis lets in: what is refused for good, and what passes."""

import asyncio
from collections import Counter

import pytest

from sio_cluster.node.membership.joining import join
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused, BusUnavailable, ConfigError
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import Valkey, start_valkey

pytestmark = pytest.mark.slow

NOT_IN = "does not let this node in: Redis answered: "


async def test_passwords() -> None:
    with start_valkey(requirepass="open sesame/%") as server:
        for wrong in (None, "close sesame"):
            bus = RedisBus(Config(REDIS_HOST="127.0.0.1", REDIS_PORT=server.port, REDIS_PASSWORD=wrong))
            with pytest.raises(AccessRefused, match=rf"Redis at 127.0.0.1:{server.port} {NOT_IN}(NOAUTH|WRONGPASS)"):
                await bus.start()
        bus = RedisBus(Config(REDIS_HOST="127.0.0.1", REDIS_PORT=server.port, REDIS_PASSWORD="open sesame/%"))
        await bus.start()
        await bus.connections.run(("ACL", "SETUSER", "io", "on", ">pw", "~*", "+@all", "-get"))
        user = RedisBus(Config(REDIS_URL=f"redis://io:pw@127.0.0.1:{server.port}/3"))
        await user.start()
        with pytest.raises(AccessRefused, match="NOPERM"):
            await user.connections.run(("GET", "x"))
        for opened in (bus, user):
            await opened.stop()


async def test_a_user_that_may_only_read(valkey: Valkey) -> None:
    """Also where the cluster is there already."""
    founder = RedisBus(Config(REDIS_URL=valkey.url, REDIS_PREFIX="readonly"))
    await founder.start()
    rights = ("+@read", "+@scripting", "+ping", "+select", "+client|id", "+client|info")
    await founder.connections.run(("ACL", "SETUSER", "reader", "on", ">pw", "~*", *rights))
    reader = RedisBus(Config(REDIS_URL=f"redis://reader:pw@127.0.0.1:{valkey.port}/0", REDIS_PREFIX="readonly"))
    with pytest.raises(AccessRefused, match="NOPERM"):
        await reader.start()
    for each in (founder, reader):
        await each.stop()


@pytest.mark.parametrize("tail", [":secret@127.0.0.1:{port}/0", "127.0.0.1:{port}/99"], ids=["password", "database"])
async def test_a_password_that_nobody_wants_and_a_database_that_is_not_there(valkey: Valkey, tail: str) -> None:
    bus = RedisBus(Config(REDIS_URL="redis://" + tail.format(port=valkey.port)))
    with pytest.raises(AccessRefused, match=NOT_IN):
        await bus.start()
    await bus.stop()


async def test_a_redis_that_has_too_many_clients_is_away() -> None:
    with start_valkey(maxclients="1") as server:
        first, second = RedisBus(Config(REDIS_URL=server.url)), RedisBus(Config(REDIS_URL=server.url))
        await Retry("start", Counter(), cap_ms=50).call(first.start)  # the one that saw it start may still be there
        with pytest.raises(BusUnavailable):
            await second.start()
        await first.stop()
        async with asyncio.timeout(10):
            await Retry("start", Counter(), cap_ms=50).call(second.start)
        await second.stop()


async def test_what_redis_says_before_it_closes_the_connection_is_told() -> None:
    """As a Redis in protected mode does, where a node comes from another machine."""

    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(b"-DENIED Redis is running in protected mode\r\n")
        writer.close()

    async with await asyncio.start_server(turn_away, "127.0.0.1", 0) as server:
        bus = RedisBus(Config(REDIS_URL=f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"))
        with pytest.raises(AccessRefused, match=f"{NOT_IN}DENIED"):
            await bus.start()
        await bus.stop()


async def test_a_redis_cluster_is_refused_also_one_of_a_single_server() -> None:
    """Else a node would start, and find out when it reads several lanes."""
    with start_valkey(cluster_enabled="yes") as server:
        operator, bus = RedisBus(Config(REDIS_URL=server.url)), RedisBus(Config(REDIS_URL=server.url))
        await operator.connections.run(("CLUSTER", "ADDSLOTSRANGE", 0, 16383))
        async with asyncio.timeout(20):
            with pytest.raises(ConfigError, match="CROSSSLOT"):  # after a while in which it says CLUSTERDOWN
                await join(bus.start, Retry("start", Counter(), cap_ms=50))
        for each in (operator, bus):
            await each.stop()
