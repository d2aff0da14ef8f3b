"""What a user would expect where python-socketio surprises, or where nothing was said and nothing happened."""

import asyncio
import os
from typing import Any

import pytest
import socketio

from sio_cluster.protocol.ids import new_sid
from sio_cluster.protocol.messages import Accept, Ack, Disconnect, Emit, Refuse


class TestDisconnectInConnect:
    @pytest.mark.parametrize("how", ["disconnect", "close_connection"])
    async def test_the_client_is_turned_away(self, stage: Any, how: str) -> None:
        sio = stage.server()
        ran: list[str] = []

        @sio.event
        async def connect(sid: str, environ: Any) -> None:
            await getattr(sio, how)(sid)
            ran.append("connect ended")

        @sio.event
        async def disconnect(sid: str, reason: str) -> None:
            ran.append("disconnect")

        @sio.event
        async def say(sid: str) -> None:
            ran.append("say")

        io = await stage.io_node()
        await sio.start()
        sid = await io.ask()
        assert await io.wait(1, Refuse) == [Refuse(sid, b'{"message":"Connection rejected by server"}')]
        await io.event(sid, "say")
        await io.settle()
        assert ran == ["connect ended"]
        assert await io.bus.records.load(sid) is None
        assert not [command for command in io.commands if isinstance(command, Accept)]
        closed = [command for command in io.commands if isinstance(command, Disconnect)]
        assert closed == ([Disconnect(sid, True)] if how == "close_connection" else [])

    async def test_from_elsewhere_while_connect_runs(self, stage: Any) -> None:
        sio = stage.server()
        running, go_on = asyncio.Event(), asyncio.Event()

        @sio.event
        async def connect(sid: str, environ: Any) -> None:
            running.set()
            await go_on.wait()
            raise ValueError("whatever it does then")

        io = await stage.io_node()
        await sio.start()
        sid = await io.ask()
        await running.wait()
        await sio.disconnect(sid, namespace="/other")
        await sio.disconnect(sid)
        go_on.set()
        assert await io.wait(1, Refuse) == [Refuse(sid, b'{"message":"Connection rejected by server"}')]

    async def test_a_client_that_was_told_of_its_connect_already(self, stage: Any) -> None:
        sio = stage.server(always_connect=True)

        @sio.event
        async def connect(sid: str, environ: Any) -> None:
            await sio.disconnect(sid)

        io = await stage.io_node()
        await sio.start()
        sid = await io.ask()
        assert await io.wait(1, Disconnect) == [Disconnect(sid)]

    async def test_when_another_app_node_takes_over(self, stage: Any) -> None:
        ran: list[str] = []

        def app(*, refuse: bool) -> Any:
            sio = stage.server()

            @sio.event
            async def connect(sid: str, environ: Any, auth: Any, is_reconnect: bool = False) -> None:
                if refuse:
                    await sio.disconnect(sid)

            @sio.event
            async def disconnect(sid: str, reason: str) -> None:
                ran.append(reason)

            return sio

        first, second = app(refuse=False), app(refuse=True)
        io = await stage.io_node()
        await first.start()
        sid = await io.connect()
        await first.shutdown()
        await second.start()
        await io.event(sid, "anything")
        assert await io.wait(1, Disconnect) == [Disconnect(sid)]
        await io.settle()
        assert ran == ["server disconnect"]


class TestCloseConnection:
    async def test_the_client_is_gone_at_once(self, stage: Any) -> None:
        sio = stage.echo_server()
        ran: list[str] = []

        @sio.event
        async def disconnect(sid: str, reason: str) -> None:
            ran.append(reason)

        io = await stage.io_node()
        await sio.start()
        sid = await io.connect()
        await sio.close_connection(sid)
        assert not sio.manager.is_connected(sid, "/")
        assert ran == ["server disconnect"]
        assert await io.wait(1, Disconnect) == [Disconnect(sid, True)]
        await io.disconnect(sid, "server disconnect")
        await io.settle()
        assert ran == ["server disconnect"]

    async def test_who_is_not_there_is_left_alone(self, stage: Any) -> None:
        sio, other = stage.echo_server(), stage.server()
        io, second = await stage.io_node(), await stage.io_node("io2")
        await sio.start()
        sid = await io.connect()
        for server in (sio, other):
            for nobody in ("", "lobby", "*", "io1-aaaaaa.short", sid + "x", None, 7):
                await server.close_connection(nobody)
                await server.disconnect(nobody)
            for nobody in ("", "lobby", "io1-aaaaaa.short", new_sid("gone-aaaaaa", os.urandom)):
                await server.manager.disconnect(nobody, "/", close=True)
                await server.leave_room(nobody, "lobby")
            await server.close_connection(sid, namespace="/chat")
            await server.disconnect(sid, namespace="/chat")
        await sio.emit("end")
        for node in (io, second):
            await node.wait(1, Emit)
            assert not [command for command in node.commands if isinstance(command, Disconnect)]
        await other.close_connection(sid)
        assert await io.wait(1, Disconnect) == [Disconnect(sid, True)]
        assert not [command for command in second.commands if isinstance(command, Disconnect)]


class TestRecipients:
    @pytest.mark.parametrize("nobody", [[], (), set()])
    async def test_an_empty_list_is_nobody(self, stage: Any, nobody: Any) -> None:
        sio = stage.server()
        io = await stage.io_node()
        await sio.emit("secret", to=nobody)
        await sio.emit("secret", room=nobody)
        await sio.emit("secret", to=nobody, room="everybody")
        await sio.send("secret", to=nobody)
        await sio.manager.emit("secret", None, "/", room=nobody)
        with pytest.raises(ValueError, match="to ask nobody"):
            await sio.call("secret", to=nobody)
        await sio.emit("end")
        assert [emit.packet for emit in await io.wait(1, Emit)] == [b'2["end"]']

    @pytest.mark.parametrize("room", ["", 0])
    async def test_a_room_is_a_room_whatever_its_name(self, stage: Any, room: Any) -> None:
        sio = stage.server()
        io = await stage.io_node()
        await sio.emit("a", to=room)
        await sio.emit("b", room=room)
        await sio.send("c", room=room)
        await sio.emit("d", to=room, room="other")
        assert [emit.to for emit in await io.wait(4, Emit)] == [[room]] * 4

    async def test_none_is_everybody(self, stage: Any) -> None:
        sio = stage.server()
        io = await stage.io_node()
        await sio.emit("a", to=None)
        await sio.emit("b", to=None, room="room")
        await sio.emit("c", namespace="")
        assert [(emit.to, emit.namespace) for emit in await io.wait(3, Emit)] == [
            (None, "/"), (["room"], "/"), (None, "/"),
        ]  # fmt: skip
        with pytest.raises(ValueError, match="broadcast"):
            await sio.call("a")


class TestAttachments:
    async def test_an_emit_that_would_disconnect_those_who_get_it_is_refused(self, stage: Any) -> None:
        sio = stage.server()
        io = await stage.io_node()
        with pytest.raises(ValueError, match="11 binary values"):
            await sio.emit("a", [b"x"] * 11)
        with pytest.raises(ValueError, match="11 binary values"):
            await sio.call("a", tuple([b"x"] * 11), to=io.connected().sid)
        await sio.emit("b", [b"x"] * 10)
        assert len((await io.wait(1, Emit))[0].attachments) == 10

    async def test_an_answer_that_would_disconnect_its_client_is_a_failed_handler(self, stage: Any) -> None:
        sio = stage.server()

        @sio.event
        async def many(sid: str, number: int) -> Any:
            return [b"x"] * number

        io = await stage.io_node()
        await sio.start()
        sid = await io.connect()
        await io.event(sid, "many", 11, ack_id=1)
        await io.event(sid, "many", 10, ack_id=2)
        assert [len(ack.attachments) for ack in await io.wait(1, Ack)] == [10]
        await io.settle()
        assert sio.node.counters.handlers_failed == 1

    async def test_clients_that_take_more(self, stage: Any) -> None:
        stage.config = stage.config.model_copy(update={"max_attachments": 20})
        sio = stage.server()
        io = await stage.io_node()
        await sio.emit("a", [b"x"] * 20)
        assert len((await io.wait(1, Emit))[0].attachments) == 20
        stage.config = stage.config.model_copy(update={"max_attachments": 0})
        await stage.server().emit("b", [b"x"] * 10)


async def test_one_call_too_many_fails_at_once(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has waited longest gets its answer."""
    monkeypatch.setattr("app_node.clients.callbacks.MAX_CALLS", 2)
    sio, io = stage.echo_server(), await stage.io_node()
    await sio.start()
    sid = await io.connect()
    calls = [asyncio.create_task(sio.call("ask", number, to=sid)) for number in range(2)]
    asked = await io.wait(2, Emit)
    async with asyncio.timeout(5):
        with pytest.raises(socketio.exceptions.TimeoutError, match="2 calls wait for answers of io1-"):
            await sio.call("ask", 2, to=sid, timeout=60)
    assert len(await io.wait(2, Emit)) == 2  # nobody was asked in vain
    for number, emit in enumerate(asked):
        assert emit.ack is not None
        await io.answer(emit.ack.app_node, emit.ack.ack_id, sid, number)
    assert await asyncio.gather(*calls) == [0, 1]


async def test_a_call_says_that_somebody_waits(stage: Any) -> None:
    """So an io-node keeps it apart from emits with a callback, of which it forgets the oldest."""
    sio, io = stage.server(), await stage.io_node()
    sid = io.connected().sid
    await sio.emit("one", to=sid, callback=print)
    with pytest.raises(socketio.exceptions.TimeoutError):
        await sio.call("two", to=sid, timeout=0.01)
    assert [emit.ack.is_call for emit in await io.wait(2, Emit) if emit.ack] == [False, True]


async def test_a_call_that_has_ended_is_forgotten(stage: Any) -> None:
    sio = stage.server()
    io = await stage.io_node()
    sid = io.connected().sid
    for timeout in (0.01, 60):
        asking = asyncio.ensure_future(sio.call("who", to=sid, timeout=timeout))
        await io.wait(1 if timeout < 1 else 2, Emit)
        if timeout > 1:
            asking.cancel()
        with pytest.raises((socketio.exceptions.TimeoutError, asyncio.CancelledError)):
            await asking
    assert len(sio.node.clients.callbacks) == 0


class TestWithoutHandlers:
    async def test_no_lanes_are_taken(self, stage: Any) -> None:
        worker, app = stage.server(), stage.echo_server()
        io = await stage.io_node()
        await worker.start()
        assert await io.bus.registry.app_nodes() == {}
        await stage.until(lambda: not worker.node.unready_because)
        await app.start()
        assert set(app.node.keeper.held) == set(range(stage.config.lanes))
        sids = [await io.connect() for _ in range(8)]
        await io.send(*[stage.event(sid, "echo", 1, ack_id=1) for sid in sids])
        await io.wait(8, Ack)
        asking = asyncio.ensure_future(worker.call("who", to=sids[0], timeout=5))
        ack = (await io.wait(1, Emit))[0].ack
        await io.answer(worker.node.id, ack.ack_id, sids[0], "me")
        assert await asking == "me"
        assert not worker.node.keeper.held
        await worker.shutdown()
        assert set(await io.bus.registry.app_nodes()) == {app.node.id}

    @pytest.mark.parametrize("kind", ["event", "connect", "catch-all", "class", "other namespace"])
    async def test_lanes_are_taken_once_there_is_a_handler(self, stage: Any, kind: str) -> None:
        sio = stage.server()
        io = await stage.io_node()
        async with sio:
            assert not sio.node.keeper.held
            match kind:
                case "event":
                    sio.on("say", lambda sid: None)
                case "connect":
                    sio.on("connect", lambda sid, environ: None)
                case "catch-all":
                    sio.on("*", lambda event, sid: None)
                case "class":
                    sio.register_namespace(socketio.AsyncNamespace("/chat"))
                case _:
                    sio.on("say", lambda sid: None, namespace="/chat")
            await stage.until(lambda: len(sio.node.keeper.held) == stage.config.lanes)
            await io.connect("/chat" if kind == "class" else "/")
