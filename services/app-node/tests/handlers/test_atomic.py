"""An atomic handler: clients get all that it says, or nothing, whatever dies."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.messages import Ack, Emit
from sio_cluster.streams.api.appends import FLUSH_BYTES

pytestmark = pytest.mark.slow


def emits(io: Any) -> list[bytes]:
    return [command.packet for command in io.commands if isinstance(command, Emit)]


async def test_what_it_says_leaves_when_it_has_ended(stage: Any) -> None:
    sio, go = stage.server(), asyncio.Event()

    @sio.event(atomic=True)
    async def pay(sid: str, amount: int) -> int:
        await sio.emit("paying", amount, to=sid)
        await go.wait()
        await sio.emit("paid", amount, to=sid)
        return amount

    @sio.event
    async def echo(sid: str, number: int) -> int:
        return number

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "pay", 7, ack_id=1)
    await io.event(sid, "echo", 1, ack_id=2)
    await io.wait(1, Ack)
    assert emits(io) == []
    go.set()
    await io.wait(2, Ack)
    assert emits(io) == [b'2["paying",7]', b'2["paid",7]']
    assert [command.packet for command in io.commands if isinstance(command, Ack)] == [b"32[1]", b"31[7]"]


async def test_one_that_dies_has_said_nothing(stage: Any, kill: Any) -> None:
    """Its successor says everything, once."""
    begun = []

    def app(ends: bool) -> Any:
        sio = stage.server()

        @sio.on("pay", atomic=True)
        async def pay(sid: str, amount: int) -> int:
            begun.append(sio)
            await sio.emit("paying", amount, to=sid)
            if not ends:
                await asyncio.Event().wait()
            return amount

        return sio

    io = await stage.io_node()
    first = app(ends=False)
    await first.start()
    sid = await io.connect()
    await io.event(sid, "pay", 7, ack_id=1)
    await stage.until(lambda: begun)
    await kill(first)
    second = app(ends=True)
    await second.start()
    await io.wait(1, Ack)
    await io.settle()
    assert begun == [first, second]
    assert emits(io) == [b'2["paying",7]']


async def test_one_that_fails_has_said_what_it_said(memory_stage: Any) -> None:
    """As in python-socketio: what it changed besides, such as rooms, has happened too."""
    sio = memory_stage.server()

    @sio.event(atomic=True)
    async def pay(sid: str) -> None:
        await sio.emit("paying", to=sid)
        raise ValueError

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "pay")
    await io.wait(1, Emit)
    await io.settle()
    assert emits(io) == [b'2["paying"]']
    assert sio.node.counters.handlers_failed == 1


@pytest.mark.parametrize("async_handlers", [False, True])
async def test_what_others_say_is_not_held(memory_stage: Any, async_handlers: bool) -> None:
    """A background task, a task that goes on after its handler, and the same client's next event."""
    sio, tasks = memory_stage.server(async_handlers=async_handlers), []
    go = asyncio.Event()

    async def later(sid: str) -> None:
        await go.wait()
        await sio.emit("later", to=sid)

    async def beside(sid: str) -> None:
        await sio.emit("beside", to=sid)
        go.set()

    @sio.event(atomic=True)
    async def pay(sid: str) -> None:
        tasks.append(asyncio.create_task(later(sid)))
        tasks.append(sio.start_background_task(beside, sid))
        await go.wait()

    @sio.event
    async def plain(sid: str) -> None:
        await sio.emit("plain", to=sid)
        await asyncio.Event().wait()

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "pay")
    await io.event(sid, "plain")
    await io.wait(3, Emit)
    assert sorted(emits(io)) == [b'2["beside"]', b'2["later"]', b'2["plain"]']
    await asyncio.gather(*tasks)


async def test_it_may_not_say_more_than_fits_into_one_step_nor_ask(memory_stage: Any) -> None:
    sio = memory_stage.server()
    errors: list[str] = []

    @sio.event(atomic=True)
    async def much(sid: str) -> None:
        try:
            await sio.emit("x", "y" * FLUSH_BYTES, to=sid)
        except ValueError as error:
            errors.append(str(error))
        try:
            await sio.call("question", to=sid)
        except RuntimeError as error:
            errors.append(str(error))

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "much", ack_id=1)
    await io.wait(1, Ack)
    assert emits(io) == []
    assert errors == [
        "an atomic handler may emit 1000000 bytes, counted once for each io-node",
        "Cannot use call() in an atomic handler: its question would leave when it has ended.",
    ]


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_what_writes_a_record_cannot_be_atomic(memory_stage: Any, event: str) -> None:
    with pytest.raises(ValueError, match=f"{event} cannot be atomic"):
        memory_stage.server().on(event, atomic=True)


def test_it_is_registered_as_any_other(memory_stage: Any) -> None:
    sio = memory_stage.server()

    async def pay(sid: str) -> None: ...

    sio.on("pay", pay, namespace="/shop", atomic=True)
    assert sio.handlers["/shop"]["pay"] is pay
    assert sio.on("other", pay) is None  # as python-socketio's own
