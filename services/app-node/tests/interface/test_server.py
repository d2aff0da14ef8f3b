"""What handlers are called with, and what follows from what they do; over the fakes and over Valkey."""

import asyncio
import json
from typing import Any

import pytest
import socketio

from app_node.counters import EVENT_UNHANDLED, RESERVED_EVENT
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


async def test_disconnect_by_the_application(stage: Any) -> None:
    sio = stage.server()
    seen = []

    @sio.event
    async def kick(sid: str) -> None:
        await sio.disconnect(sid)
        assert not sio.manager.is_connected(sid, "/")
        await sio.disconnect(sid)

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append((sid, reason, (await sio.get_session(sid))["name"]))

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await sio.save_session(sid, {"name": "n"})
    await sio.disconnect(sid, namespace="/other")
    await io.event(sid, "kick")
    assert await io.wait(1, Disconnect) == [Disconnect(sid)]
    await io.disconnect(sid, "server disconnect")
    await io.event(sid, "kick")
    await io.settle()
    assert seen == [(sid, "server disconnect", "n")]
    assert await io.wait(1, Disconnect) == [Disconnect(sid)]
    assert len(sio.node.clients.known) == 0
    other = await io.connect()
    await sio.close_connection(other)
    assert (await io.wait(2, Disconnect))[1] == Disconnect(other, True)


async def test_disconnect_of_a_client_in_another_lane(stage: Any) -> None:
    app, emitter = stage.server(), stage.server()
    seen = []

    @app.event
    def disconnect(sid: str, reason: str) -> None:
        seen.append(sid)

    io = await stage.io_node()
    await app.start()
    sid = await io.connect()
    await emitter.disconnect(sid)
    assert await io.wait(1, Disconnect) == [Disconnect(sid)]
    await io.disconnect(sid, "server disconnect")
    await io.settle()
    assert seen == [sid]
    await emitter.disconnect(sid)
    await emitter.disconnect("nobody")
    assert len(await io.wait(1, Disconnect)) == 1


async def test_sessions_outlast_server_objects(stage: Any) -> None:
    sio = stage.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.save_session(sid, {"user": auth, "raw": b"\xff", "list": [1, None, 2.5]})

    @sio.event
    async def count(sid: str) -> Any:
        async with sio.session(sid) as session:
            session["count"] = count = session.get("count", 0) + 1
        return count

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect(auth={"name": "ada"})
    await io.send(*[stage.event(sid, "count", ack_id=n) for n in range(10)])
    assert sorted(ack.packet for ack in await io.wait(10, Ack)) == sorted(b"3%d[%d]" % (n, n + 1) for n in range(10))
    await sio.shutdown()
    other = stage.server()
    session = await other.get_session(sid)
    assert session == {"user": {"name": "ada"}, "raw": b"\xff", "list": [1, None, 2.5], "count": 10}
    with pytest.raises(KeyError):
        await other.get_session(io.connected().sid)
    with pytest.raises(KeyError):
        await other.save_session(io.connected().sid, {})
    with pytest.raises(TypeError, match="cannot hold a set"):
        await other.save_session(sid, {"x": {1}})


async def test_environ_and_transport(stage: Any) -> None:
    from sio_cluster.protocol.messages import ClientUpgraded

    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    environ = sio.get_environ(sid)
    assert environ["HTTP_HOST"] == "example.org:81"
    assert sio.get_environ(sid) is environ
    assert sio.environ[sid] is environ
    assert sio.get_environ("nobody") is None
    assert sio.transport(sid) == "polling"
    await io.send(ClientUpgraded(sid, "websocket"))
    await io.settle()
    assert sio.transport(sid) == "websocket"
    assert (await io.bus.records.load(sid)).transport == "websocket"
    with pytest.raises(KeyError):
        sio.transport("nobody")


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
