"""A handler that cancels its own task and returns has ended well, and so do those that run in this task after it."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.messages import Accept, Ack


def cancel_own_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@pytest.mark.parametrize("async_handlers", [True, False])
async def test_the_next_event_does_not_notice(memory_stage: Any, async_handlers: bool) -> None:
    sio = memory_stage.server(async_handlers=async_handlers)

    @sio.event
    async def give_up(sid: str) -> str:
        cancel_own_task()
        return "given up"

    @sio.event
    async def wait(sid: str, number: int) -> int:
        await asyncio.sleep(0)
        return number

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "give_up", ack_id=1)
    await io.event(sid, "wait", 2, ack_id=2)
    assert [ack.packet for ack in await io.wait(2, Ack)] == [b'31["given up"]', b"32[2]"]
    await io.settle()
    assert sio.node.counters.handlers_failed == 0


async def test_connect_and_disconnect(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    gone: list[str] = []

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        cancel_own_task()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        cancel_own_task()
        gone.append(sid)

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.ask()
    await io.event(sid, "echo", 1, ack_id=1)
    await io.disconnect(sid)
    assert len(await io.wait(1, Accept)) == 1
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b"31[1]"]
    await io.settle()
    assert gone == [sid]
    assert await io.bus.records.load(sid) is None
    assert sio.node.counters.handlers_failed == 0
