"""One server object in one event loop after the other, as where each task of a worker calls `asyncio.run`."""

import asyncio
import os

from app_node import get_client
from sio_cluster.node.config import Config
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.ids import new_node_id
from sio_cluster.protocol.messages import Emit
from sio_cluster.streams.redis import RedisBus


def test_each_event_loop_gets_an_app_node_of_its_own(redis_config: Config) -> None:
    io_node = new_node_id("io1", os.urandom)
    asyncio.run(_register(redis_config, io_node))
    sio = get_client(redis_config)
    asyncio.run(sio.emit("one"))
    first = sio.node.id
    asyncio.run(sio.emit("two"))
    assert sio.node.id != first
    assert asyncio.run(_emitted(redis_config, io_node)) == [b'2["one"]', b'2["two"]']


def test_shutdown_in_a_later_event_loop_does_nothing(redis_config: Config) -> None:
    sio = get_client(redis_config)
    asyncio.run(sio.emit("one"))
    asyncio.run(sio.shutdown())
    asyncio.run(sio.emit("two"))


async def _register(config: Config, io_node: str) -> None:
    bus = RedisBus(config)
    await bus.start()
    await bus.registry.register_io_node(io_node, {})
    await bus.registry.heartbeat(io_node, ttl_ms=60_000)
    await bus.stop()


async def _emitted(config: Config, io_node: str) -> list[bytes]:
    bus = RedisBus(config)
    await bus.start()
    inbox = bus.inbox_reader(io_node)
    entries = await inbox.read(1000)
    await inbox.close()
    await bus.stop()
    commands = [command for entry in entries for command in decode_downlink(entry).commands]
    return [command.packet for command in commands if isinstance(command, Emit)]
