"""Clients that connect: who is let in, and when `connect` handlers run; over the fakes and over Valkey."""

import asyncio
import json
from typing import Any

import socketio

from app_node.counters import EVENT_UNHANDLED
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    Disconnect,
    Refuse,
)


async def test_connect_event_ack_disconnect(stage: Any) -> None:
    sio = stage.server()
    seen: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        seen.append(("connect", environ["QUERY_STRING"], environ["REMOTE_ADDR"], auth))

    @sio.event
    async def echo(sid: str, *args: Any) -> Any:
        return args

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append(("disconnect", reason, sio.rooms(sid)))

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect(auth={"token": 1})
    await io.send(*[stage.event(sid, "echo", number, "x", ack_id=number) for number in range(50)])
    acks = await io.wait(50, Ack)
    assert [ack.packet for ack in acks] == [b'3%d[%d,"x"]' % (n, n) for n in range(50)]
    await io.disconnect(sid)
    await io.settle()
    assert seen == [
        ("connect", "EIO=4&transport=polling", "10.1.2.3", {"token": 1}),
        ("disconnect", "transport close", [sid]),
    ]
    assert await io.bus.records.load(sid) is None
    assert sio.rooms(sid) == []


async def test_refusals(stage: Any) -> None:
    sio = stage.server()
    answers: dict[str, Any] = {
        "/false": False,
        "/message": socketio.exceptions.ConnectionRefusedError("no entry"),
        "/data": socketio.exceptions.ConnectionRefusedError("no entry", {"code": 4}),
        "/more": socketio.exceptions.ConnectionRefusedError("no entry", 1, "2"),
        "/empty": socketio.exceptions.ConnectionRefusedError(),
        "/binary": socketio.exceptions.ConnectionRefusedError("no entry", b"\xff"),
        "/builtin": ConnectionRefusedError(),
        "/defect": ZeroDivisionError("in the handler"),
    }

    def handler(answer: Any) -> Any:
        async def connect(sid: str, environ: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return connect

    for namespace, answer in answers.items():
        sio.on("connect", handler(answer), namespace=namespace)
    io = await stage.io_node()
    await sio.start()
    sids = {await io.ask(namespace): namespace for namespace in (*answers, "/nobody-serves-it")}
    refusals = {sids[refuse.sid]: json.loads(refuse.data) for refuse in await io.wait(len(sids), Refuse)}
    assert refusals == {
        "/false": {"message": "Connection rejected by server"},
        "/message": {"message": "no entry"},
        "/data": {"message": "no entry", "data": {"code": 4}},
        "/more": {"message": "no entry", "data": [1, "2"]},
        "/empty": {"message": "Connection rejected by server"},
        "/binary": {"message": "no entry"},
        "/builtin": {"message": "Connection refused by server"},
        "/defect": {"message": "Internal server error"},
        "/nobody-serves-it": {"message": "Invalid namespace"},
    }
    await io.settle()
    for sid in sids:
        assert await io.bus.records.load(sid) is None
        await io.disconnect(sid)
    await io.settle()
    assert sio.node.counters.clients_disconnected == 0
    assert len(sio.node.clients.known) == 0


async def test_default_namespace_is_served_without_handlers_of_its_own(stage: Any) -> None:
    sio = stage.server()
    sio.on("anything", lambda sid: None, namespace="/other")
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "nobody handles this", ack_id=1)
    await io.settle()
    assert sio.node.counters.outcomes[EVENT_UNHANDLED] == 1
    assert not [c for c in io.commands if isinstance(c, Ack)]


async def test_connect_handler_runs_once_even_if_it_raises_type_error(stage: Any) -> None:
    sio = stage.server()
    calls = []

    @sio.event
    def connect(sid: str, environ: Any) -> None:
        calls.append(sid)
        raise TypeError("in the handler")

    @sio.on("connect", namespace="/ok")
    def ok(sid: str, environ: Any, auth: Any) -> None:
        calls.append(auth)

    @sio.on("disconnect", namespace="/ok")
    def gone(sid: str) -> None:
        calls.append("gone")
        raise TypeError("in the handler")

    io = await stage.io_node()
    await sio.start()
    sid = await io.ask()
    await io.wait(1, Refuse)
    other = await io.connect("/ok")
    await io.disconnect(other)
    await io.settle()
    assert calls == [sid, None, "gone"]


async def test_slow_connect_of_one_client_keeps_nobody_else_waiting_and_comes_before_its_events(stage: Any) -> None:
    sio = stage.server()
    gate = asyncio.Event()
    order = []

    @sio.on("connect", namespace="/slow")
    async def connect(sid: str, environ: Any) -> None:
        await gate.wait()
        order.append("connected")

    @sio.on("hello", namespace="/slow")
    def hello(sid: str) -> None:
        order.append("hello")

    io = await stage.io_node()
    await sio.start()
    slow = await io.ask("/slow")
    await io.event(slow, "hello")
    await io.connect("/")
    assert order == []
    gate.set()
    await io.wait(2, Accept)
    await io.settle()
    assert order == ["connected", "hello"]


async def test_always_connect(stage: Any) -> None:
    sio = stage.server(always_connect=True)

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> Any:
        return auth is None

    io = await stage.io_node()
    await sio.start()
    good, bad = await io.connect(), await io.ask(auth={"x": 1})
    assert await io.wait(1, Disconnect) == [Disconnect(bad)]
    assert io.commands == [Accept(good), Accept(bad), Disconnect(bad)]


async def test_auth_may_be_any_json(stage: Any) -> None:
    auths = ["text", ["a", 1], 7, False, "", {}, None]
    got: list[Any] = []
    sio = stage.server()
    sio.on("connect", lambda sid, environ, auth: got.append(auth))
    io = await stage.io_node()
    await sio.start()
    for auth in auths:
        await io.connect(auth=auth)
    assert got == auths
