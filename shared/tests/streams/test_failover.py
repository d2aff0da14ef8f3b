"""A failover behind an address that stays the same: everything moves to the new master, and little is logged."""

import asyncio
from collections import Counter

import pytest
from structlog.testing import capture_logs

from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Writer, read_bodies
from sio_cluster.testing.proxy import proxy_to
from sio_cluster.testing.valkey import start_valkey

pytestmark = pytest.mark.slow

NODE = "io1-aaaaaa"
NOWHERE = ("REPLICAOF", "127.0.0.1", 1)


async def test_a_reader_leaves_the_former_master() -> None:
    """Reading an inbox is no error on a replica: the reader would wait there for ever."""
    with start_valkey() as former, start_valkey() as master:
        async with proxy_to("127.0.0.1", former.port) as proxy:
            bus = RedisBus(Config(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0"))
            await bus.start()
            reader = bus.inbox_reader(NODE)
            inbox = Writer(bus.appender, bus.keys.inbox(NODE))
            await inbox.write_as(1, b"before")
            assert await read_bodies(reader, 1_000) == [b"before"]
            reading = asyncio.create_task(
                Retry("inbox", Counter(), cap_ms=50).call(lambda: read_bodies(reader, 20_000))
            )

            operator = RedisBus(Config(REDIS_URL=former.url))
            accepted = proxy.accepted
            await operator.connections.run(NOWHERE)  # it closes the connection of the read that waits
            async with asyncio.timeout(10):
                while proxy.accepted == accepted:  # until the reader is there again
                    await asyncio.sleep(0.01)
                proxy.lead_to(master.port)
                await Retry("write", Counter(), cap_ms=50).call(lambda: inbox.write_as(2, b"after"))
                while not (entries := await reading):
                    reading = asyncio.create_task(
                        Retry("inbox", Counter(), cap_ms=50).call(lambda: read_bodies(reader, 20_000))
                    )
            assert entries == [b"after"]
            await reader.close()
            for each in (bus, operator):
                await each.stop()


async def test_tries_against_a_replica_are_not_logged_one_by_one() -> None:
    with start_valkey() as server:
        bus = RedisBus(Config(REDIS_URL=server.url))
        await bus.start()
        await bus.connections.run(NOWHERE)
        with capture_logs() as lines:
            for _ in range(5):
                with pytest.raises(BusError):
                    await bus.registry.heartbeat(NODE, 1_000)
        assert lines == []
        await bus.stop()
