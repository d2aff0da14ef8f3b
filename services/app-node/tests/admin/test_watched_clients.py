"""What the page of the Admin UI is told of clients and events, in development mode."""

from typing import Any

import pytest

from sio_cluster.protocol.messages import (
    Accept,
    ClientUpgraded,
    Emit,
    Join,
    JoinMany,
)

from .watching import PASSWORD, heard, instrumented, named, said

pytestmark = pytest.mark.slow


async def test_the_clients_of_all_namespaces(stage: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    sio.on("connect", lambda sid, environ: None, namespace="/chat")
    await sio.start()
    bob, eve = await io.connect(), await io.connect("/chat")
    await io.settle()
    await sio.enter_room(bob, "blue")
    ada = await io.connect("/admin", PASSWORD)
    [clients] = (await heard(io, "all_sockets", sid=ada))[0]
    found = {client["id"]: client for client in clients}
    assert {bob, eve} <= set(found)
    assert found[bob]["rooms"] == [bob, "blue"]
    assert found[eve]["nsp"] == "/chat"
    assert found[bob]["handshake"]["address"] == "10.1.2.3"


async def test_clients_for_which_the_message_has_no_room_are_left_out(
    memory_stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app_node.admin.newest_clients.MOST_LIST_BYTES", 5_000)
    sio, io = instrumented(memory_stage, mode="development"), await memory_stage.io_node()
    await sio.start()
    bob, eve = await io.connect(), await io.connect()
    await io.settle()
    await sio.enter_rooms(["x" * 10_000], eve)
    ada = await io.connect("/admin", PASSWORD)
    [clients] = (await heard(io, "all_sockets", sid=ada))[0]
    assert [client["id"] for client in clients if client["nsp"] == "/"] == [bob]


async def test_in_production_mode_nobody_hears_of_clients(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats", 2)
    bob = await io.connect()
    await io.event(bob, "echo", 1)
    await io.settle()
    await heard(io, "server_stats", len(named(io, "server_stats")) + 3)
    assert {event for event, *_ in said(io)} == {"session", "config", "server_stats"}


async def test_what_clients_do_is_told_as_it_happens(stage: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await stage.until(lambda: sio.node.clients.sightings.observer is not None)
    bob = await io.connect()
    await io.until(lambda: bob in [client["id"] for client, _ in named(io, "socket_connected", ada)])
    await io.send(ClientUpgraded(bob, "websocket"))
    assert await heard(io, "socket_updated") == [[{"id": bob, "nsp": "/", "transport": "websocket"}]]
    await io.event(bob, "echo", 7)
    [[namespace, sid, event, _]] = await heard(io, "event_received")
    assert (namespace, sid, event) == ("/", bob, ["echo", 7])
    await sio.emit("news", 1, to=bob)
    [[_, sid, event, _]] = await heard(io, "event_sent")
    assert (sid, event) == (bob, ["news", 1])
    await io.disconnect(bob, "ping timeout")
    [[_, sid, reason, _]] = await heard(io, "socket_disconnected")
    assert (sid, reason) == (bob, "ping timeout")
    assert all(emit.to == [ada] for emit in io.commands if isinstance(emit, Emit) and emit.namespace == "/admin")


async def test_rooms_that_a_handler_changes_are_told_once(stage: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()

    @sio.event
    async def move(sid: str) -> None:
        await sio.enter_room(sid, "blue")
        await sio.enter_room(sid, "blue")
        await sio.leave_room(sid, "blue")
        await sio.leave_room(sid, "blue")

    await sio.start()
    bob = await io.connect()
    await io.connect("/admin", PASSWORD)
    await stage.until(lambda: sio.node.clients.sightings.observer is not None)
    await io.event(bob, "move")
    await heard(io, "room_left", 2)
    moves = [[event, *args[:3]] for event, *args in said(io) if event in ("room_joined", "room_left")]
    first, *moves = moves
    assert first == ["room_left", "/", "blue", bob], "while a list is on its way, so that nobody is in it twice"
    assert moves == [["room_joined", "/", "blue", bob], ["room_left", "/", "blue", bob]]


async def test_rooms_that_an_order_changes_are_told(stage: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    bob, ada = await io.connect(), await io.connect("/admin", PASSWORD)
    await stage.until(lambda: sio.node.clients.sightings.observer is not None)
    await io.event(ada, "join", "/", "blue", bob)
    await io.wait(1, JoinMany)
    await io.tell(Join(bob, "blue", tell=True))
    [[namespace, room, sid, _]] = await heard(io, "room_joined")
    assert (namespace, room, sid) == ("/", "blue", bob)


async def test_when_the_last_one_has_gone_nobody_observes(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage, mode="development"), await memory_stage.io_node()
    await sio.start()
    assert sio.node.clients.sightings.observer is None
    ada = await io.connect("/admin", PASSWORD)
    await memory_stage.until(lambda: sio.node.clients.sightings.observer is not None)
    await io.disconnect(ada)
    await memory_stage.until(lambda: sio.node.clients.sightings.observer is None)
    assert Accept in {type(command) for command in io.commands}
