"""Clients that come back after their app-node has stopped or died: `is_reconnect`, rooms and sessions."""

import json
from typing import Any

import pytest

from app_node.lanes.progress import EntryProgress
from sio_cluster.protocol.messages import Accept, Ack, ClientConnected, Disconnect

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("form", ["keyword", "positional", "before-auth", "class", "without"])
async def test_is_reconnect(stage: Any, form: str) -> None:
    calls: list[Any] = []

    def app() -> Any:
        sio = stage.server()
        match form:
            case "keyword":

                @sio.event
                async def connect(sid: str, environ: Any, auth: Any, *, is_reconnect: bool = False) -> None:
                    calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

            case "positional":

                @sio.on("connect")
                def connect2(sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
                    calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

            case "before-auth":

                @sio.on("connect")
                def connect3(sid: str, environ: Any, is_reconnect: bool, auth: Any) -> None:
                    calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

            case "class":
                import socketio

                class Root(socketio.AsyncNamespace):  # type: ignore[misc]
                    async def on_connect(self, sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None:
                        calls.append(("connect", auth, is_reconnect, environ["REMOTE_ADDR"]))

                sio.register_namespace(Root("/"))
            case _:

                @sio.on("connect")
                async def connect4(sid: str, environ: Any, auth: Any) -> None:
                    calls.append(("connect", auth, False, environ["REMOTE_ADDR"]))

        @sio.on("ping")
        async def ping(sid: str) -> None:
            calls.append("ping")

        @sio.on("disconnect")
        async def disconnect(sid: str, reason: str) -> None:
            calls.append("disconnect")

        return sio

    io = await stage.io_node()
    first = app()
    await first.start()
    one, two = await io.connect(auth={"n": 1}), await io.connect(auth={"n": 2})
    await first.shutdown()
    calls.clear()
    second = app()
    await second.start()
    await io.event(one, "ping")
    await io.event(one, "ping")
    await io.settle()
    again = [] if form == "without" else [("connect", {"n": 1}, True, "10.1.2.3")]
    assert calls == [*again, "ping", "ping"]
    calls.clear()
    await io.disconnect(two)
    await io.disconnect(one)
    await io.settle()
    assert calls.count("disconnect") == 2
    assert len(calls) == (2 if form == "without" else 3)
    assert io.accepted() == [one, two]


async def test_refusing_at_reconnect_disconnects(stage: Any) -> None:
    io = await stage.io_node()
    first = stage.echo_server()
    await first.start()
    sid = await io.connect()
    await first.shutdown()
    seen: list[Any] = []
    second = stage.echo_server(seen)

    @second.event
    async def connect(sid: str, environ: Any, is_reconnect: bool) -> bool:
        return not is_reconnect

    @second.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append(reason)

    await second.start()
    await io.event(sid, "echo", 1, ack_id=1)
    await io.wait(1, Disconnect)
    await io.disconnect(sid, "server disconnect")
    await io.settle()
    assert seen == ["server disconnect"]
    assert not [c for c in io.commands if isinstance(c, Ack)]


async def test_an_error_at_reconnect_sends_nobody_away(stage: Any) -> None:
    io = await stage.io_node()
    first = stage.echo_server()
    await first.start()
    sid = await io.connect()
    await first.shutdown()
    second = stage.echo_server()

    @second.event
    async def connect(sid: str, environ: Any, is_reconnect: bool) -> None:
        raise ZeroDivisionError

    await second.start()
    await io.event(sid, "echo", 1, ack_id=1)
    assert [ack.packet for ack in await io.wait(1, Ack)] == [b"31[1]"]
    assert not [c for c in io.commands if isinstance(c, Disconnect)]


async def test_rooms_and_session_come_back_with_the_client(stage: Any) -> None:
    io = await stage.io_node()
    first = stage.server()

    @first.event
    async def connect(sid: str, environ: Any) -> None:
        await first.enter_room(sid, "lobby")
        await first.enter_room(sid, 7)
        await first.save_session(sid, {"n": 1})

    await first.start()
    sid = await io.connect()
    await first.shutdown()
    second = stage.server()

    @second.event
    async def look(sid: str) -> Any:
        async with second.session(sid) as session:
            session["n"] += 1
        return sorted(map(str, second.rooms(sid))), session, second.transport(sid)

    await second.start()
    await io.event(sid, "look", ack_id=1)
    ack = (await io.wait(1, Ack))[0]
    assert json.loads(ack.packet[2:]) == [["7", sid, "lobby"], {"n": 2}, "polling"]


async def test_redelivered_connect_of_an_accepted_client_is_accepted_again_without_a_second_call(
    stage: Any, kill: Any
) -> None:
    io = await stage.io_node()
    calls = []

    def app() -> Any:
        sio = stage.server()

        @sio.event
        async def connect(sid: str, environ: Any) -> None:
            calls.append(sid)

        return sio

    first = app()
    await first.start()
    fact = io.connected()
    await io.bus.records.store([fact])
    await connected_but_not_committed(stage, first, io, fact)
    await kill(first)
    second = app()
    await second.start()
    await io.wait(2, Accept)
    await io.settle()
    assert calls == [fact.sid]
    assert io.accepted() == [fact.sid, fact.sid]


async def connected_but_not_committed(stage: Any, server: Any, io: Any, fact: ClientConnected) -> None:
    """Everything of the connect is done except for its commit."""
    node = server.node
    done: list[EntryProgress] = []
    node.commits.put = done.append
    await io.send(fact)
    await io.wait(1, Accept)
    await stage.until(lambda: done)
