"""Events of clients: which handler gets them, in which order, and what it answers; over the fakes and over Valkey."""

import asyncio
import dataclasses
from typing import Any

import pytest
import socketio

from app_node.counters import RESERVED_EVENT
from sio_cluster.protocol.messages import (
    Ack,
)


@pytest.mark.parametrize("overlap", [True, False])
async def test_async_handlers(stage: Any, overlap: bool) -> None:
    sio = stage.server(async_handlers=overlap)
    order: list[Any] = []
    gate = asyncio.Event()
    second = asyncio.Event()

    @sio.event
    async def step(sid: str, number: int) -> None:
        order.append(("start", number))
        if number == 2:
            second.set()
        else:
            await gate.wait()
        order.append(("end", number))

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.send(stage.event(sid, "step", 1), stage.event(sid, "step", 2))
    if overlap:
        await asyncio.wait_for(second.wait(), 5)
    gate.set()
    await io.settle()
    together = [("start", 1), ("start", 2), ("end", 2), ("end", 1)]
    assert order == (together if overlap else [("start", 1), ("end", 1), ("start", 2), ("end", 2)])


async def test_failing_handler_gives_no_ack_and_harms_nobody(stage: Any) -> None:
    sio = stage.server()

    @sio.event
    async def fail(sid: str) -> None:
        raise ZeroDivisionError

    @sio.event
    async def unsendable(sid: str) -> Any:
        return object()

    @sio.event
    async def fine(sid: str) -> None:
        return None

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    for ack_id, name in enumerate(("fail", "unsendable", "connect", "disconnect", "fine")):
        await io.event(sid, name, ack_id=ack_id)
    await io.settle()
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b"34[]"]
    assert sio.node.counters.handlers_failed == 2
    assert sio.node.counters.outcomes[RESERVED_EVENT] == 2


async def test_namespace_classes_and_catch_all(stage: Any) -> None:
    sio = stage.server(namespaces="*")
    seen: list[Any] = []

    class Chat(socketio.AsyncNamespace):  # type: ignore[misc]
        async def on_connect(self, sid: str, environ: Any) -> None:
            await self.enter_room(sid, "lobby")

        def on_plain(self, sid: str, value: int) -> int:
            return value + 1

        async def on_disconnect(self, sid: str) -> None:
            seen.append("bye")

    class Own(socketio.AsyncNamespace):  # type: ignore[misc]
        async def trigger_event(self, event: str, *args: Any) -> Any:
            seen.append((event, len(args)))
            return "own"

    sio.register_namespace(Chat("/chat"))
    sio.register_namespace(Own("/own"))

    @sio.on("*", namespace="*")
    async def anything(event: str, namespace: str, sid: str, *args: Any) -> Any:
        return (event, namespace, *args)

    @sio.on("*")
    async def any_event(event: str, sid: str, *args: Any) -> Any:
        return (event, *args)

    io = await stage.io_node()
    await sio.start()
    chat, own, other, root = [await io.connect(ns) for ns in ("/chat", "/own", "/other", "/")]
    assert "lobby" in sio.rooms(chat, "/chat")
    await io.event(chat, "plain", 4, ack_id=1)
    await io.event(own, "x", 1, 2, ack_id=2)
    await io.event(other, "y", "z", ack_id=3)
    await io.event(root, "w", ack_id=4)
    await io.wait(4, Ack)
    packets = sorted(c.packet for c in io.commands if isinstance(c, Ack))
    assert packets == [
        b'3/chat,1["plain","/chat",4]',
        b'3/other,3["y","/other","z"]',
        b'3/own,2["x","/own",1,2]',
        b'34["w"]',
    ]
    await io.disconnect(chat)
    await io.settle()
    assert seen == [("connect", 3), "bye"]


async def test_handlers_are_timed_by_event(stage: Any) -> None:
    """Clients choose the names of events: those that only a catch-all serves share one label."""
    sio = stage.server(namespaces="*")

    @sio.event
    async def slow(sid: str) -> None:
        await asyncio.sleep(0.02)

    @sio.event
    async def fail(sid: str) -> None:
        raise ZeroDivisionError

    @sio.on("*")
    async def anything(event: str, sid: str) -> None: ...

    class Shop(socketio.AsyncNamespace):  # type: ignore[misc]
        async def on_look(self, sid: str) -> None: ...

    sio.register_namespace(Shop("/shop"))
    io = await stage.io_node()
    await sio.start()
    sid, shopper = await io.connect(), await io.connect("/shop")
    for name in ("slow", "fail", "a", "b", "*"):
        await io.event(sid, name)
    for name in ("look", "smell"):
        await io.event(shopper, name)
    await io.settle()
    handlers = sio.node.counters.durations.handlers
    assert {name: histogram.total for name, histogram in handlers.items()} == {
        "slow": 1,
        "fail": 1,
        "look": 1,
        "other": 4,
    }
    assert 0.015 <= handlers["slow"].sum < 2  # an event loop may round 20 ms down
    assert sio.node.counters.durations.outbox_wait.total > 0


@dataclasses.dataclass
class Adder:
    """A callable that cannot be hashed, since it has `__eq__`."""

    by: int

    async def __call__(self, sid: str, number: int) -> int:
        return number + self.by


async def test_a_callable_that_cannot_be_hashed(stage: Any) -> None:
    sio = stage.server()
    sio.on("add", Adder(2))
    sio.on("add atomically", Adder(3), atomic=True)
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    for ack_id, event in enumerate(("add", "add atomically")):
        await io.event(sid, event, 1, ack_id=ack_id)
        await io.settle()
    assert [ack.packet for ack in io.commands if isinstance(ack, Ack)] == [b"30[3]", b"31[4]"]
    assert sio.node.counters.handlers_failed == 0
