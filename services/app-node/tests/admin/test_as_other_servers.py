"""What the tests of Socket.IO's own server package (`@socket.io/admin-ui`) and of python-socketio's `instrument` ask
for, one by one, and which of our tests asks for it. Here are those that no other module has.

| they ask | we |
|---|---|
| a namespace `/admin`; nobody without credentials; the right ones; a session; a wrong session | `test_coming_in` |
| a dict, a list, a function of either kind as `auth`; False; none | `test_credentials`, `test_coming_in` |
| a namespace of another name | here |
| the features: all, read-only, production | `test_orders` |
| the list of all clients, with rooms; the administrator is a client too | `test_watched_clients`; here |
| `server_stats`: clients, those that poll, all namespaces, also empty ones | `test_servers`, `test_stats` |
| a client that comes, enters a room, leaves it, goes | `test_watched_clients`, `tests/e2e/test_admin` |
| events of both directions, with binary arguments | `test_feed`: in place of the bytes stands how many they are |
| events of both directions with an ack | here |
| `emit`, `join`, `leave`, `_disconnect` for one client or a room | `test_orders`, `tests/e2e/test_admin` |
| `leave` for everybody | here |
| a namespace that no handler names | `tests/e2e/test_admin` by the list; here as it happens |
| stores of sessions: one that was saved counts, another does not | `test_coming_in` |
| `socket.data` and its changes | none: sessions of clients are not shown |
| `io.listen`, servers of version 3, threads that end | none: nothing of it exists here |
"""

from typing import Any

import pytest

from sio_cluster.protocol.messages import LeaveMany

from .watching import PASSWORD, heard, instrumented, named, refusal, said

pytestmark = pytest.mark.slow


async def test_the_namespace_may_have_another_name(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage, namespace="/control"), await memory_stage.io_node()
    await sio.start()
    assert await refusal(io, None, "/control") == {"message": "invalid credentials"}
    ada = await io.connect("/control", PASSWORD)
    await io.until(lambda: "server_stats" in {event for event, *_ in said(io, ada, "/control")})
    assert said(io) == [], "nothing in /admin"


async def test_the_administrator_is_a_client_too(stage: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)

    def shown() -> list[dict[str, Any]]:
        listed = [client for [clients] in named(io, "all_sockets", ada) for client in clients]
        return [*listed, *(client for client, _ in named(io, "socket_connected", ada))]

    await io.until(lambda: ada in [client["id"] for client in shown()])
    assert {(client["nsp"], *client["rooms"]) for client in shown()} == {("/admin", ada)}


async def test_events_that_want_an_answer_are_shown_without_it(stage: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    bob = await io.connect()
    await io.connect("/admin", PASSWORD)
    await stage.until(lambda: sio.node.clients.sightings.observer is not None)
    await io.event(bob, "echo", "world", ack_id=7)
    [[namespace, sid, event, _]] = await heard(io, "event_received")
    assert (namespace, sid, event) == ("/", bob, ["echo", "world"])
    await sio.emit("hello", to=bob, callback=lambda *args: None)
    [[namespace, sid, event, _]] = await heard(io, "event_sent")
    assert (namespace, sid, event) == ("/", bob, ["hello"])


async def test_everybody_can_be_made_to_leave_a_room(stage: Any) -> None:
    sio, io = instrumented(stage), await stage.io_node()
    await sio.start()
    ada, bob, eve = await io.connect("/admin", PASSWORD), await io.connect(), await io.connect()
    await io.settle()
    await sio.enter_rooms("blue", [bob, eve])
    await io.event(ada, "leave", "/", "blue")
    [left] = await io.wait(1, LeaveMany)
    assert (sorted(left.sids), left.rooms) == (sorted([bob, eve]), ["blue"])


async def test_a_client_of_a_namespace_that_no_handler_names(stage: Any) -> None:
    sio, io = stage.echo_server(namespaces="*"), await stage.io_node()
    sio.instrument(auth=PASSWORD, server_stats_interval=0.05)
    sio.on("connect", lambda namespace, sid, environ: None, namespace="*")
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await stage.until(lambda: sio.node.clients.sightings.observer is not None)
    bob = await io.connect("/dynamic-101")
    await io.until(lambda: bob in [client["id"] for client, _ in named(io, "socket_connected", ada)])
    namespaces = {client["nsp"] for client, _ in named(io, "socket_connected", ada) if client["id"] == bob}
    assert namespaces == {"/dynamic-101"}
