"""The server object's semantics, over the fakes and over Valkey."""

import asyncio
import json
from typing import Any

import pytest
import socketio

from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    CloseRoom,
    Disconnect,
    Emit,
    Join,
    Leave,
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
    assert await io.streams.records.load(sid) is None
    assert sio.rooms(sid) == []


async def test_refusals(stage: Any) -> None:
    sio = stage.server()
    answers: dict[str, Any] = {
        "/false": False,
        "/message": socketio.exceptions.ConnectionRefusedError("no entry"),
        "/data": socketio.exceptions.ConnectionRefusedError("no entry", {"code": 4}),
        "/more": socketio.exceptions.ConnectionRefusedError("no entry", 1, "2"),
        "/empty": socketio.exceptions.ConnectionRefusedError(),
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
        "/builtin": {"message": "Connection refused by server"},
        "/defect": {"message": "Internal server error"},
        "/nobody-serves-it": {"message": "Invalid namespace"},
    }
    await io.settle()
    for sid in sids:
        assert await io.streams.records.load(sid) is None
        await io.disconnect(sid)
    await io.settle()
    assert sio.node.counters["clients_disconnected"] == 0
    assert len(sio.node.clients) == 0


async def test_default_namespace_is_served_without_handlers(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "nobody handles this", ack_id=1)
    await io.settle()
    assert sio.node.counters["handled.unhandled_event"] == 1
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
    assert sio.node.counters["handlers_failed"] == 2
    assert sio.node.counters["refused.reserved_event"] == 2


async def test_emit_forms(stage: Any) -> None:
    sio = stage.server()
    one, two = await stage.io_node("io1"), await stage.io_node("io2")
    await sio.start()
    sid, other = await one.connect(), await two.connect()
    await sio.emit("a", to=sid)
    await sio.emit("b", {"x": [1]}, room="room")
    await sio.emit("c", ("one", 2, None), to=["room", 42, sid], skip_sid=[sid, other])
    await sio.emit("d", b"\x00\x01", namespace="/chat", skip_sid=other)
    await sio.emit("e", [float("nan"), float("inf"), 2**70, "\ud800"], to=[sid, other])
    await sio.send("f", room=("x", "y"))
    [b1, c1, d1, e1, f1] = [emit for emit in await one.wait(6, Emit) if emit.packet != b'2["a"]']
    assert next(emit for emit in one.commands if isinstance(emit, Emit)) == Emit("/", b'2["a"]', to=[sid])
    assert b1 == Emit("/", b'2["b",{"x":[1]}]', to=["room"])
    assert c1 == Emit("/", b'2["c","one",2,null]', to=["room", 42, sid], skip=[sid, other])
    assert d1.packet == b'51-/chat,["d",{"_placeholder":true,"num":0}]'
    assert (d1.attachments, d1.to, d1.skip, d1.namespace) == ([b"\x00\x01"], None, [other], "/chat")
    assert e1.packet == b'2["e",[null,null,1180591620717411303424,"\\ud800"]]'
    assert f1 == Emit("/", b'2["message","f"]', to=["x", "y"])
    assert await two.wait(5, Emit) == [b1, c1, d1, e1, f1]


async def test_one_who_only_emitted_leaves_nothing_behind(stage: Any) -> None:
    """Else a job that emits once a minute fills the state of every inbox."""
    io, sio = await stage.io_node(), stage.server()
    await sio.emit("news")
    sender = sio.node.id
    assert sender in await senders(stage, io)
    await sio.shutdown()
    assert sender not in await senders(stage, io)


async def senders(stage: Any, io: Any) -> set[str]:
    """Of whom the inbox knows a sequence number."""
    inbox = io.streams.bus.keys.inbox(io.id)
    if stage.broker is not None:
        return set(stage.broker.streams[inbox].last_seq)
    return {name.decode() for name in (await io.streams.bus.run(("HKEYS", f"{inbox}:state")))[0]}


async def test_what_cannot_be_sent_raises_where_it_is_emitted(stage: Any) -> None:
    sio = stage.server()
    await stage.io_node()
    with pytest.raises(TypeError):
        await sio.emit("x", object())
    with pytest.raises(TypeError, match="room"):
        await sio.emit("x", to=3.5)
    with pytest.raises(UnicodeEncodeError):
        await sio.emit("x", to="\ud800")
    with pytest.raises(ValueError, match="64 bits"):
        await sio.emit("x", to=1 << 70)


async def test_rooms(stage: Any) -> None:
    sio = stage.server()

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        await sio.enter_room(sid, "first")

    io = await stage.io_node()
    await sio.start()
    sid, other = await io.connect(), await io.connect()
    await sio.enter_room(sid, 42)
    await sio.enter_room(sid, "42")
    await sio.leave_room(sid, "42")
    assert set(sio.rooms(sid)) == {sid, "first", 42}
    with pytest.raises(ValueError, match="sid room"):
        await sio.enter_room(sid, other)
    with pytest.raises(ValueError, match="not connected"):
        await sio.enter_room(sid, "x", namespace="/other")
    with pytest.raises(ValueError, match="not connected"):
        await sio.enter_room("nobody", "x")
    await io.settle()
    record = await io.streams.records.load(sid)
    assert record.rooms == {"first", 42}
    await sio.close_room("first")
    assert set(sio.rooms(sid)) == {sid, 42}
    await io.wait(1, CloseRoom)
    changes = [c for c in io.commands if isinstance(c, Join | Leave | CloseRoom)]
    assert changes == [
        Join(sid, "first"), Join(other, "first"), Join(sid, 42), Join(sid, "42"), Leave(sid, "42"),
        CloseRoom("/", "first"),
    ]  # fmt: skip


async def test_join_comes_before_accept_and_what_is_emitted_meanwhile_in_between(stage: Any) -> None:
    sio = stage.server()

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        await sio.enter_room(sid, "r")
        await sio.emit("welcome", to=sid)

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    assert io.commands == [Join(sid, "r"), Emit("/", b'2["welcome"]', to=[sid]), Accept(sid)]


async def test_call_and_callback(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    for args, expected in (((), None), (("one",), "one"), ((1, [2]), (1, [2]))):
        asking = asyncio.ensure_future(sio.call("question", {"n": 1}, to=sid, timeout=5))
        emit = (await io.wait(len([c for c in io.commands if isinstance(c, Emit)]) + 1, Emit))[-1]
        assert emit.ack.app_node == sio.node.id
        assert emit.ack.ack_id >> 32 > 0
        assert emit.packet == b'2%d["question",{"n":1}]' % emit.ack.ack_id
        await io.answer(sio.node.id, emit.ack.ack_id, sid, *args)
        assert await asking == expected
    called: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def callback(*args: Any) -> None:
        called.set_result(args)

    await sio.emit("x", to=sid, callback=callback)
    ack = (await io.wait(4, Emit))[-1].ack
    await io.answer(sio.node.id, ack.ack_id, io.connected().sid, "an impostor")
    await io.answer(sio.node.id, ack.ack_id, sid, "a", "b")
    await io.answer(sio.node.id, ack.ack_id, sid, "again")
    assert await asyncio.wait_for(called, 5) == ("a", "b")
    with pytest.raises(socketio.exceptions.TimeoutError):
        await sio.call("unanswered", to=sid, timeout=0.05)


async def test_call_inside_a_handler(stage: Any) -> None:
    sio = stage.server()

    @sio.event
    async def ask(sid: str) -> Any:
        return await sio.call("who", to=sid, timeout=5)

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.event(sid, "ask", ack_id=7)
    ack = (await io.wait(1, Emit))[0].ack
    await io.answer(sio.node.id, ack.ack_id, sid, "me")
    assert (await io.wait(1, Ack))[0].packet == b'37["me"]'


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
    assert len(sio.node.clients) == 0
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

    sio = stage.server()
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
    assert (await io.streams.records.load(sid)).transport == "websocket"
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


async def test_binary_in_and_out(stage: Any) -> None:
    from sio_cluster.protocol.messages import EventReceived

    sio = stage.server()

    @sio.event
    async def image(sid: str, data: Any) -> Any:
        return data["b"], data["a"]

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    text = b'["image",{"a":{"_placeholder":true,"num":0},"b":{"_placeholder":true,"num":1}}]'
    await io.send(EventReceived(sid, 5, text, [b"A", b"B"]))
    ack = (await io.wait(1, Ack))[0]
    assert ack.packet == b'62-5[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert ack.attachments == [b"B", b"A"]


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


async def test_emitting_only(stage: Any) -> None:
    app = stage.server()
    io = await stage.io_node()
    await app.start()
    sid = await io.connect()
    sio = stage.server()
    await sio.emit("news", {"n": 1})
    assert [c for c in io.commands if isinstance(c, Emit)] or await io.wait(1, Emit)
    assert not sio.node.keeper.held
    asking = asyncio.ensure_future(sio.call("who", to=sid, timeout=5))
    ack = (await io.wait(2, Emit))[1].ack
    await io.answer(ack.app_node, ack.ack_id, sid, "me")
    assert await asking == "me"
    assert set(await io.streams.registry.app_nodes()) == {app.node.id}
    await sio.enter_room(sid, "r")
    assert (await io.streams.records.load(sid)).rooms == {"r"}
    await sio.shutdown()
    await sio.emit("again")
    await io.wait(3, Emit)


async def test_a_new_io_node_is_reached_at_once(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()
    await sio.start()
    await sio.emit("one")
    late = await stage.io_node("io2")
    sid = await late.connect()
    await sio.emit("two", to=sid)
    await sio.emit("three")
    assert [c.packet for c in await late.wait(2, Emit)] == [b'2["two"]', b'2["three"]']
    assert [c.packet for c in await io.wait(2, Emit)] == [b'2["one"]', b'2["three"]']
