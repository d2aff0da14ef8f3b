"""A Redis that is out of memory: what is in it is worked off, and makes room; what is new waits."""

import asyncio
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusRefused
from sio_cluster.protocol.messages import Accept, Ack, Emit
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey

pytestmark = pytest.mark.slow


async def test_what_waits_in_lanes_is_worked_off(make_stage: Any) -> None:
    with start_valkey() as server:
        stage = make_stage(Config(REDIS_URL=server.url, LANES=4, SHUTDOWN_MS=2000), RedisBus, None)
        sio = stage.server()

        @sio.event
        async def connect(sid: str, environ: Any) -> None:
            await sio.enter_room(sid, "all")

        @sio.event
        async def echo(sid: str, number: int) -> int:
            await sio.save_session(sid, {"last": number})
            await sio.emit("heard", number, to=sid)
            return number

        io = await stage.io_node()
        sids = [await io.ask() for _ in range(5)]
        await io.send(*[stage.event(sid, "echo", number, ack_id=number) for number in range(20) for sid in sids])
        bus: Any = io.bus
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 1))
        with pytest.raises(BusRefused):
            await io.event(sids[0], "echo", 99)
        await sio.start()
        await io.wait(5, Accept)
        await io.wait(100, Ack)
        await io.wait(100, Emit)
        await io.lanes_emptied()
        before = sio.node.counters.redis_retries["outbox"]
        news = asyncio.create_task(sio.emit("news"))
        async with asyncio.timeout(10):
            while sio.node.counters.redis_retries["outbox"] == before:
                await asyncio.sleep(0.01)
        assert not news.done()
        await bus.connections.run(("CONFIG", "SET", "maxmemory", 0))
        await asyncio.wait_for(news, 10)
        assert (await io.wait(101, Emit))[-1].packet == b'2["news"]'
        assert (await io.bus.records.load(sids[0])).rooms == {"all"}
        await stage.stop()
