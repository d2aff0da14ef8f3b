"""What the application says to clients: emits, rooms, calls; over the fakes and over Valkey."""

import asyncio
import functools
from typing import Any

import pytest
import socketio

from sio_cluster.protocol.errors import NodesTooOld
from sio_cluster.protocol.messages import (
    SERVER_LEVEL,
    Accept,
    Ack,
    CloseRoom,
    Emit,
    Join,
    Leave,
)

SOMEBODY = "io1-aaaaaa.AAAAAAAAAAAAAAAA"


async def test_emit_forms(stage: Any) -> None:
    sio = stage.echo_server()
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


async def test_emits_with_exceptions_and_volatile_ones(stage: Any) -> None:
    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    sid, other = await io.connect(), await io.connect()
    await sio.emit("a", except_room="red")
    await sio.emit("b", room=["red", "blue"], except_room=["green", 7, sid], skip_sid=other)
    await sio.emit("c", except_room=(sid, other), volatile=True)
    await sio.manager.emit("d", 1, "/", "red", except_room={"blue"}, volatile=True)
    assert await io.wait(4, Emit) == [
        Emit("/", b'2["a"]', except_rooms=["red"]),
        Emit("/", b'2["b"]', to=["red", "blue"], skip=[other, sid], except_rooms=["green", 7]),
        Emit("/", b'2["c"]', skip=[sid, other], volatile=True),
        Emit("/", b'2["d",1]', to=["red"], volatile=True, except_rooms=["blue"]),
    ]
    with pytest.raises(TypeError, match="room"):
        await sio.emit("x", except_room=3.5)


async def test_lists_of_who_is_meant_may_be_used_again(stage: Any) -> None:
    """An emit takes them as they are at its call, and leaves them so: also in a handler, where it is sent later."""
    sio = stage.server()
    io = await stage.io_node()

    @sio.event
    async def go(sid: str) -> None:
        rooms, but, skip = ["red"], ["green", sid], [sid]
        await sio.emit("a", to=rooms, except_room=but, skip_sid=skip)
        assert (rooms, but, skip) == (["red"], ["green", sid], [sid])
        for one in (rooms, but, skip):
            one.append("blue")
        await sio.emit("b", to=rooms, except_room=but)

    await sio.start()
    sid = await io.connect()
    await io.event(sid, "go")
    assert await io.wait(2, Emit) == [
        Emit("/", b'2["a"]', to=["red"], skip=[sid, sid], except_rooms=["green"]),
        Emit("/", b'2["b"]', to=["red", "blue"], skip=[sid], except_rooms=["green", "blue"]),
    ]


async def test_an_old_io_node_is_not_asked_to_except_a_room(stage: Any) -> None:
    """It would send to the members of the excepted room too. Sids it can skip."""
    sio = stage.server()
    old, new = await stage.io_node("io1", level=SERVER_LEVEL - 1), await stage.io_node("io2")
    with pytest.raises(NodesTooOld, match="except_room"):
        await sio.emit("x", except_room=["red", new.id + ".AAAAAAAAAAAAAAAA"])
    await sio.emit("y", except_room=new.id + ".AAAAAAAAAAAAAAAA")
    for io in (old, new):
        [emit] = await io.wait(1, Emit)
        assert emit == Emit("/", b'2["y"]', skip=[new.id + ".AAAAAAAAAAAAAAAA"])


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
    inbox = io.bus.keys.inbox(io.id)
    if stage.broker is not None:
        return set(stage.broker.streams[inbox].last_seq)
    return {name.decode() for name in (await io.bus.connections.run(("HKEYS", f"{inbox}:state")))[0]}


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
    for ask in (sio.emit, sio.call_many, functools.partial(sio.call, to=SOMEBODY)):
        with pytest.raises(ValueError, match="'disconnect' is a reserved"):
            await ask("disconnect")


@pytest.mark.parametrize(("namespace", "error"), [("/\ud800", UnicodeEncodeError), (5, TypeError)])
async def test_a_namespace_that_cannot_be_carried_harms_nobody_else(stage: Any, namespace: Any, error: Any) -> None:
    """Else it would stand in a batch with what others say, and end the loop that sends it."""
    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    for wrong in (
        sio.emit("x", namespace=namespace),
        sio.call_many("x", namespace=namespace),
        sio.enter_room(SOMEBODY, "a", namespace=namespace),
        sio.close_room("a", namespace=namespace),
        sio.enter_rooms("a", room="b", namespace=namespace),
        sio.disconnect_room("a", namespace=namespace),
    ):
        with pytest.raises(error):
            await asyncio.wait_for(wrong, 5)
    with pytest.raises(error):
        sio.presence("a", namespace)
    await sio.emit("end")
    assert [emit.packet for emit in await io.wait(1, Emit)] == [b'2["end"]']
    assert sio.node.loops.failure is None


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
    record = await io.bus.records.load(sid)
    assert record.rooms == {"first", 42}
    await sio.close_room("first")
    assert set(sio.rooms(sid)) == {sid, 42}
    await io.wait(1, CloseRoom)
    changes = [c for c in io.commands if isinstance(c, Join | Leave | CloseRoom)]
    assert changes == [
        Join(sid, "first"), Join(other, "first"), Join(sid, 42, True), Join(sid, "42", True), Leave(sid, "42", True),
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
    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    for args, expected in (((), None), (("one",), "one"), ((1, [2]), (1, [2]))):
        asking = asyncio.ensure_future(sio.call("question", {"n": 1}, to=sid, timeout=5))
        emit = (await io.wait(len([c for c in io.commands if isinstance(c, Emit)]) + 1, Emit))[-1]
        assert emit.ack.app_node == sio.node.id
        assert emit.ack.ack_id >> 20 > 0
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


async def test_emitting_only(stage: Any) -> None:
    app = stage.echo_server()
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
    assert set(await io.bus.registry.app_nodes()) == {app.node.id}
    await sio.enter_room(sid, "r")
    assert (await io.bus.records.load(sid)).rooms == {"r"}
    await sio.shutdown()
    await sio.emit("again")
    await io.wait(3, Emit)


async def test_a_new_io_node_is_reached_at_once(stage: Any) -> None:
    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    await sio.emit("one")
    late = await stage.io_node("io2")
    sid = await late.connect()
    await sio.emit("two", to=sid)
    await sio.emit("three")
    assert [c.packet for c in await late.wait(2, Emit)] == [b'2["two"]', b'2["three"]']
    assert [c.packet for c in await io.wait(2, Emit)] == [b'2["one"]', b'2["three"]']
