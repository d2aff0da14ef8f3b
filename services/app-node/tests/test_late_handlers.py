"""A planned stop while handlers run."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.messages import Accept, Ack, Emit, Refuse

pytestmark = pytest.mark.slow


async def test_a_clean_stop_lets_handlers_finish(stage: Any) -> None:
    sio = stage.server()
    begun, gate = asyncio.Event(), asyncio.Event()

    @sio.event
    async def slow(sid: str) -> str:
        begun.set()
        await gate.wait()
        await sio.emit("more", to=sid)
        return "done"

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "slow", ack_id=1)
    await begun.wait()
    node = sio.node
    stopping = asyncio.ensure_future(sio.shutdown())
    await asyncio.sleep(0.05)
    assert not stopping.done()
    assert sio.node is node  # what the handler emits now goes through the node that stops
    gate.set()
    await stopping
    await io.wait(1, Ack)
    assert [type(c) for c in io.commands] == [Accept, Emit, Ack]
    await io.settle()
    assert await io.bus.registry.app_nodes() == {}


async def test_a_handler_that_never_ends_does_not_hold_up_the_stop_and_is_run_again(stage: Any) -> None:
    io = await stage.io_node()
    sio = stage.server()
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @sio.event
    async def slow(sid: str) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await sio.start()
    sid = await io.connect()
    await io.event(sid, "slow", ack_id=1)
    await begun.wait()
    await asyncio.wait_for(sio.shutdown(), 5)
    assert cancelled.is_set()
    second = stage.server()

    @second.on("slow")
    async def quick(sid: str) -> str:
        return "again"

    await second.start()
    assert (await io.wait(1, Ack))[0].packet == b'31["again"]'
    assert not [c for c in io.commands if isinstance(c, Refuse)]
