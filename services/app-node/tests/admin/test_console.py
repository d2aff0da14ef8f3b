"""`sio.instrument`: what Socket.IO's Admin UI asks of a server, over the fakes and over Valkey.

What the page expects is that of Socket.IO's own server (npm `@socket.io/admin-ui`).
"""

import json
from typing import Any

import pytest

from sio_cluster.protocol.figures import Figures
from sio_cluster.protocol.messages import (
    Accept,
    ClientUpgraded,
    Disconnect,
    DisconnectMany,
    Emit,
    Join,
    JoinMany,
    LeaveMany,
    Refuse,
)

from .watching import PASSWORD, heard, named, refusal, said

ORDERS = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]


def instrumented(stage: Any, log: list[Any] | None = None, **options: Any) -> Any:
    sio = stage.echo_server(log)
    sio.instrument(**{"auth": PASSWORD, "mode": "production", "server_stats_interval": 0.05, **options})
    return sio


# --- who comes in


@pytest.mark.parametrize(
    "auth", [None, {}, {"username": "ada"}, {**PASSWORD, "password": "wrong"}, {"sessionId": "x" * 32}, "text", 3]
)
async def test_strangers_are_refused_in_the_words_for_which_the_page_shows_its_form(stage: Any, auth: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    assert await refusal(io, auth) == {"message": "invalid credentials"}
    assert said(io) == []


async def test_the_password_lets_in_and_the_session_does_so_later_on_every_app_node(stage: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    [[session]] = await heard(io, "session", sid=ada)
    again = await io.connect("/admin", {"sessionId": session})
    assert named(io, "session", again) == []
    await sio.shutdown()
    other = instrumented(stage)
    await other.start()
    await io.connect("/admin", {"sessionId": session})
    assert session not in json.dumps([repr(command) for command in io.commands if not isinstance(command, Emit)])


async def test_a_session_ends_with_the_password_that_it_was_given_for(stage: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    [[session]] = await heard(io, "session")
    await sio.shutdown()
    changed = instrumented(stage, auth={**PASSWORD, "password": "another"})
    await changed.start()
    await io.ask("/admin", {"sessionId": session})
    [refused] = await io.wait(1, Refuse)
    assert json.loads(refused.data) == {"message": "invalid credentials"}


@pytest.mark.parametrize("auth", [{**PASSWORD, "password": "another"}, [PASSWORD, {"password": "more"}]])
async def test_who_came_in_by_another_password_gives_no_orders_and_hears_nothing(stage: Any, auth: Any) -> None:
    """A connection outlasts the app-nodes that knew the former password."""
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    await heard(io, "server_stats", sid=ada)
    await sio.shutdown()
    io.commands.clear()
    changed = instrumented(stage, mode="development", auth=auth)
    await changed.start()
    await io.event(ada, "_disconnect", "/", False, bob)
    assert await io.wait(1, Disconnect) == [Disconnect(ada)]
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, DisconnectMany)]
    assert said(io, ada) == []


async def test_who_came_in_by_another_password_and_only_watches_is_sent_away(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats", sid=ada)
    await sio.shutdown()
    io.commands.clear()
    changed = instrumented(memory_stage, auth=lambda auth: True)
    await changed.start()
    assert await io.wait(1, Disconnect) == [Disconnect(ada)]
    assert said(io, ada) == []


async def test_who_came_in_by_the_same_password_gives_orders_to_the_next_app_node(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    await sio.shutdown()
    other = instrumented(memory_stage)
    await other.start()
    await io.event(ada, "_disconnect", "/", False, bob)
    assert await io.wait(1, DisconnectMany) == [DisconnectMany([bob], False)]


async def test_who_came_in_where_nobody_asked_for_a_password_is_sent_away(memory_stage: Any) -> None:
    """By an app-node that has no Admin UI, or not yet, and takes all namespaces."""
    former, io = memory_stage.echo_server(namespaces="*"), await memory_stage.io_node()
    await former.start()
    eve, bob = await io.connect("/admin"), await io.connect()
    await former.shutdown()
    sio = instrumented(memory_stage)
    await sio.start()
    await io.event(eve, "_disconnect", "/", False, bob)
    assert await io.wait(1, Disconnect) == [Disconnect(eve)]
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, DisconnectMany)]
    assert said(io) == []


async def test_the_application_cannot_open_the_door_by_mistake(memory_stage: Any) -> None:
    sio = memory_stage.echo_server()
    sio.on("connect", lambda sid, environ: None, namespace="/admin")
    with pytest.raises(ValueError, match="/admin has handlers"):
        sio.instrument(auth=PASSWORD)
    sio = instrumented(memory_stage)
    sio.on("connect", lambda sid, environ: None, namespace="/admin")
    with pytest.raises(ValueError, match="another connect handler"):
        await sio.start()


async def test_a_function_decides(stage: Any) -> None:
    async def check(auth: Any) -> bool:
        return bool(auth["password"] == "even")

    sio, io = instrumented(stage, auth=check, namespace="/control"), await stage.io_node()
    await sio.start()
    assert await refusal(io, {"password": "odd"}, "/control") == {"message": "invalid credentials"}
    await io.connect("/control", {"password": "even"})


async def test_without_auth_everybody_comes_in_and_nobody_needs_a_session(stage: Any) -> None:
    sio, io = instrumented(stage, auth=False), await stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", {"sessionId": None})
    await heard(io, "config", sid=ada)
    assert named(io, "session") == []


def test_what_instrument_refuses(memory_stage: Any) -> None:
    sio = memory_stage.server()
    with pytest.raises(ValueError, match="auth must be given"):
        sio.instrument()
    with pytest.raises(ValueError, match="mode"):
        sio.instrument(auth=False, mode="debug")
    with pytest.raises(ValueError, match="namespace"):
        sio.instrument(auth=False, namespace="/")
    with pytest.raises(ValueError, match="interval"):
        sio.instrument(auth=False, server_stats_interval=0)
    sio.instrument(auth=False)
    with pytest.raises(RuntimeError, match="before"):
        sio.instrument(auth=False)


# --- what the page can do


@pytest.mark.parametrize(
    ("options", "features"),
    [
        ({}, ["AGGREGATED_EVENTS", *ORDERS]),
        ({"mode": "development"}, ["AGGREGATED_EVENTS", *ORDERS, "ALL_EVENTS"]),
        ({"read_only": True}, ["AGGREGATED_EVENTS"]),
        ({"read_only": True, "mode": "development"}, ["AGGREGATED_EVENTS", "ALL_EVENTS"]),
    ],
)
async def test_the_page_is_told_what_it_can_do(memory_stage: Any, options: Any, features: list[str]) -> None:
    sio, io = instrumented(memory_stage, **options), await memory_stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    assert await heard(io, "config") == [[{"supportedFeatures": features}]]


async def test_orders_reach_clients_wherever_they_are(stage: Any) -> None:
    sio = instrumented(stage)
    one, two = await stage.io_node("io1"), await stage.io_node("io2")
    await sio.start()
    ada, bob, eve = await one.connect("/admin", PASSWORD), await two.connect(), await two.connect()
    await one.settle()
    await one.event(ada, "join", "/", "blue", bob)
    assert await two.wait(1, JoinMany) == [JoinMany([bob], ["blue"])]
    await one.event(ada, "join", "/", "green")
    joined = (await two.wait(2, JoinMany))[1]
    assert (sorted(joined.sids), joined.rooms) == (sorted([bob, eve]), ["green"])
    await one.event(ada, "leave", "/", "green", "blue")
    assert await two.wait(1, LeaveMany) == [LeaveMany([bob], ["green"])]
    await one.event(ada, "emit", "/", "blue", "hello", 1, {"a": 2})
    await two.until(lambda: Emit("/", b'2["hello",1,{"a":2}]', to=["blue"]) in two.commands)
    await one.event(ada, "emit", "/", None, "everybody")
    await two.until(lambda: Emit("/", b'2["everybody"]') in two.commands)
    await one.event(ada, "_disconnect", "/", False, bob)
    assert await two.wait(1, DisconnectMany) == [DisconnectMany([bob], False)]
    await one.event(ada, "_disconnect", "/", True, "green")
    assert (await two.wait(2, DisconnectMany))[1] == DisconnectMany([eve], True)


async def test_a_room_whose_name_counts_as_false_is_not_everybody(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    for room in (0, ""):
        await io.event(ada, "_disconnect", "/", False, room)
        await io.event(ada, "join", "/", "blue", room)
        await io.event(ada, "leave", "/", "blue", room)
        await io.event(ada, "emit", "/", room, "hello")
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, JoinMany | LeaveMany | DisconnectMany)]
    assert [emit.to for emit in io.commands if isinstance(emit, Emit) and emit.namespace == "/"] == [[0], [""]]
    assert await sio.count(bob) == 1


async def test_who_may_only_read_gives_no_orders(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage, read_only=True), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    await io.event(ada, "join", "/", "blue", bob)
    await io.event(ada, "_disconnect", "/", False, bob)
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, JoinMany | DisconnectMany)]
    assert await sio.count(bob) == 1


async def test_orders_that_make_no_sense_do_nothing(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    for order in (["join"], ["join", "/", bob, bob], ["join", 7, "a"], ["join", "/", {}], ["emit", "/", None, 3]):
        await io.event(ada, *order)
    await io.event(ada, "_disconnect")
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, JoinMany | DisconnectMany)]
    assert sio.node.counters.handlers_failed == 0


# --- nodes


async def test_all_nodes_are_servers_and_one_app_node_tells_of_them(stage: Any) -> None:
    servers = [instrumented(stage), instrumented(stage)]
    one, two = await stage.io_node("io1"), await stage.io_node("io2")
    for server in servers:
        await server.start()
    figures = Figures(connections=3, polling=1, namespaces={"/": 2, "/dynamic": 1}, opened=5)
    about = {"level": "3", "host": "web1", "pid": "42", "since": "1700000000", **figures.encoded()}
    await one.bus.registry.register_io_node(one.id, about)
    await one.connect("/admin", PASSWORD)
    nodes = {one.id, two.id, *[server.node.id for server in servers]}
    await one.until(lambda: {stats["serverId"] for [stats] in named(one, "server_stats")} == nodes)
    told = {stats["serverId"]: stats for [stats] in named(one, "server_stats")}
    assert told[one.id]["hostname"] == "web1"
    assert (told[one.id]["clientsCount"], told[one.id]["pollingClientsCount"]) == (3, 1)
    assert {"name": "/dynamic", "socketsCount": 1} in told[one.id]["namespaces"]
    lists = [[namespace["name"] for namespace in stats["namespaces"]] for stats in told.values()]
    assert lists == [["/", "/admin", "/dynamic"]] * 4
    for server in servers:
        assert told[server.node.id]["pid"] > 0
        assert told[server.node.id]["clientsCount"] == 0
    for server in servers:
        await server._console._rounds._round()
    infos = await one.bus.registry.app_nodes()
    assert ["watched" in infos[server.node.id] for server in servers] == [
        server.node.keeper.holds(0) for server in servers
    ]
    emits = [command for command in one.commands if isinstance(command, Emit) and b"server_stats" in command.packet]
    assert all(emit.volatile for emit in emits)
    assert not [command for command in two.commands if isinstance(command, Emit)], "nobody watches there"


async def test_names_that_clients_invent_displace_no_namespace_and_are_not_all_kept(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    sio.on("connect", lambda sid, environ: None, namespace="/orders")
    await sio.start()
    rounds = sio._console._rounds
    for look in range(3):
        figures = Figures(namespaces={f"/!{look}-{number}": 1 for number in range(100)})
        await io.bus.registry.register_io_node(io.id, {"level": "3", **figures.encoded()})
        names = await rounds._all_namespaces()
    assert {"/", "/admin", "/orders", "/!0-0"} <= set(names)
    assert len(names) == len(rounds._names) == 100


async def test_io_nodes_say_their_figures_only_while_somebody_watches(stage: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()

    async def watched() -> bool:
        infos = await io.bus.registry.app_nodes()
        return "watched" in infos[sio.node.id]

    assert not await watched()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats")
    assert await watched()
    await io.disconnect(ada)
    await io.settle()
    number = len(named(io, "server_stats"))
    await stage.until(lambda: not sio._console._rounds.watchers)
    assert not await watched()
    assert len(named(io, "server_stats")) <= number + 4, "at most one round was under way"


async def test_beside_a_node_that_is_too_old_io_nodes_need_not_say_their_figures(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats")
    await memory_stage.io_node("io2", level=1)
    await memory_stage.until(lambda: not sio._console._rounds.watchers)
    await sio._console._rounds._round()
    assert "watched" not in (await io.bus.registry.app_nodes())[sio.node.id]


async def test_a_round_that_fails_does_not_end_the_node(memory_stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats")
    with monkeypatch.context() as broken:
        failures: list[None] = []

        def server_stats(*args: Any) -> None:
            failures.append(None)
            raise OverflowError

        broken.setattr("app_node.admin.rounds.server_stats", server_stats)
        await memory_stage.until(lambda: len(failures) > 1)
    assert sio.node.loops.failure is None
    await heard(io, "server_stats", len(named(io, "server_stats")) + 1)


async def test_an_app_node_that_takes_over_tells_of_the_nodes(stage: Any) -> None:
    """The administrator says nothing meanwhile: it is found in Redis."""
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    await heard(io, "server_stats")
    await sio.shutdown()
    other = instrumented(stage)
    await other.start()
    io.commands.clear()
    await io.until(lambda: other.node.id in {stats["serverId"] for [stats] in named(io, "server_stats")})


# --- clients and events, in development mode


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
    monkeypatch.setattr("app_node.admin.rounds.MOST_LIST_BYTES", 5_000)
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
    [[namespace, room, sid, _]] = await heard(io, "room_left")
    assert (namespace, room, sid) == ("/", "blue", bob)
    assert len(named(io, "room_joined")) == 1


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
