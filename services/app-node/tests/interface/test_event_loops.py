"""One server object in one event loop after the other, as where each task of a worker calls `asyncio.run`."""

import asyncio
import gc
import os

import pytest

from app_node import get_client
from app_node.interface.server import ClusterServer
from sio_cluster.node.settings.config import Config
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


def test_what_a_cancelled_task_emits_at_the_end_arrives(redis_config: Config) -> None:
    io_node = new_node_id("io1", os.urandom)
    asyncio.run(_register(redis_config, io_node))
    sio = get_client(redis_config)
    asyncio.run(_leave_a_task_behind(sio))
    assert asyncio.run(_emitted(redis_config, io_node)) == [b'2["hello"]', b'2["bye"]']


def test_an_event_loop_that_ends_leaves_no_connection_to_redis(redis_config: Config) -> None:
    sio = get_client(redis_config)
    gc.disable()  # it would close them too, some time
    try:
        before = len(os.listdir("/dev/fd"))
        for _ in range(5):
            asyncio.run(_leave_a_task_behind(sio))
        assert len(os.listdir("/dev/fd")) == before
    finally:
        gc.enable()


async def test_shutdown_in_another_event_loop_is_refused(redis_config: Config) -> None:
    sio = get_client(redis_config)
    await sio.emit("one")
    with pytest.raises(RuntimeError, match="another event loop"):
        await asyncio.to_thread(lambda: asyncio.run(sio.shutdown()))
    await sio.emit("two")
    await sio.shutdown()


async def _leave_a_task_behind(sio: ClusterServer) -> None:
    async def until_cancelled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            async with asyncio.timeout(5):
                await sio.emit("bye")

    await sio.emit("hello")
    task = asyncio.create_task(until_cancelled())
    await asyncio.sleep(0)
    assert not task.done()


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
    commands = [command for entry in entries for command in decode_downlink(entry.entry).commands]
    return [command.packet for command in commands if isinstance(command, Emit)]
