"""An administrator gets one list of all clients: a second one would replace all that the page shows."""

import asyncio
from typing import Any

import msgspec
import pytest

from sio_cluster.protocol.figures import Figures
from sio_cluster.protocol.messages import Emit
from sio_cluster.streams.api.records import Accepted

from .watching import PASSWORD, Page, heard, instrumented, named, said

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app_node.admin.rounds.IDLE_S", 0.1)
    monkeypatch.setattr("app_node.admin.rounds._ROUND_S", 0.2)
    monkeypatch.setattr("app_node.admin.rounds._FIGURES_S", 0.1)
    monkeypatch.setattr("app_node.admin.rounds._ABANDONED_S", 0.3)
    monkeypatch.setattr("app_node.admin.rounds.PAUSE_S", 0.05)


async def knows(sio: Any, sid: str) -> bool:
    """Whether it is noted in Redis that this administrator has its list."""
    return bool((await sio.get_session(sid, namespace="/admin")).get("knows_clients"))


async def until_known(sio: Any, sid: str) -> None:
    async with asyncio.timeout(50):
        while not await knows(sio, sid):  # Redis tells nobody
            await asyncio.sleep(0.02)


async def come(io: Any, namespace: str = "/") -> str:
    """A client that no app-node of the test has seen come."""
    fact = msgspec.structs.replace(io.connected(), namespace=namespace)
    await io.bus.records.store([fact])
    await io.bus.records.update([Accepted(fact.sid)])
    return str(fact.sid)


async def test_of_several_app_nodes_one_sends_it(stage: Any) -> None:
    servers = [instrumented(stage, mode="development") for _ in range(3)]
    io = await stage.io_node()
    for server in servers:
        await server.start()
    bob = await io.connect()
    ada = await io.connect("/admin", PASSWORD)
    await until_known(servers[0], ada)
    for server in servers:  # each round that could send a list has been
        await server._console._rounds._round()
    [[clients]] = named(io, "all_sockets", ada)
    assert bob in [client["id"] for client in clients]


async def test_what_other_app_nodes_did_not_tell_it_comes_as_changes(stage: Any, monkeypatch: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    bob, eve = await io.connect(), await io.connect()
    monkeypatch.setattr("app_node.admin.rounds._ROUND_S", 1.0)
    await io.settle()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "all_sockets", sid=ada)
    sio.node.clients.sightings.observer = None  # as on an app-node that does not know of her yet
    monkeypatch.setattr(sio._console._rounds, "_see", lambda watchers: None)
    await sio.enter_room(bob, "blue")
    new = await come(io)
    await io.disconnect(eve)
    await until_known(sio, ada)
    await io.until(lambda: named(io, "room_joined", ada))
    assert [args[:3] for args in named(io, "room_joined", ada)] == [["/", "blue", bob]]
    assert new in [client["id"] for client, _ in named(io, "socket_connected", ada)]
    assert [args[:2] for args in named(io, "socket_disconnected", ada)] == [["/", eve]]
    assert len(named(io, "all_sockets", ada)) == 1


@pytest.mark.parametrize("look", [1, 2])
@pytest.mark.parametrize("told", ["before", "after", "its last room alone"])
async def test_what_happens_while_clients_are_read_is_shown(
    memory_stage: Any, monkeypatch: Any, look: int, told: str
) -> None:
    """A client comes and enters rooms, before and after the moment in which a look reads it. `told`: what the feed of
    its app-node, which may know of the administrator late, says of it, before or after the look shows it."""
    sio, io = instrumented(memory_stage, mode="development"), await memory_stage.io_node()

    @sio.event
    async def enter(sid: str, room: str) -> None:
        await sio.enter_room(sid, room)

    await sio.start()
    rounds = sio._console._rounds
    read, came = rounds._newest.clients, rounds._feed.came
    looked, bob = 0, ""

    async def clients() -> Any:
        nonlocal looked, bob
        looked += 1
        if looked != look:
            return await read()
        await memory_stage.until(lambda: sio.node.clients.sightings.observer is not None)
        if told == "its last room alone":
            monkeypatch.setattr(rounds._feed, "came", lambda *_: None)
        bob = await io.connect()
        await io.event(bob, "enter", "first")
        await io.settle()
        found = await read()
        await io.event(bob, "enter", "second")
        await io.settle()
        monkeypatch.setattr(rounds._feed, "came", came)
        if told != "after":
            await rounds._feed.flush()
        return found

    monkeypatch.setattr(rounds._newest, "clients", clients)
    ada = await io.connect("/admin", PASSWORD)
    await until_known(sio, ada)
    page = Page(said(io, ada))
    assert sorted(page.rooms_of[bob]) == sorted([bob, "first", "second"])
    assert [page.clients_in[room] for room in (bob, "first", "second")] == [[bob]] * 3
    assert len(named(io, "all_sockets", ada)) == 1


async def test_clients_of_a_namespace_that_io_nodes_name_late_are_shown(stage: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("app_node.admin.rounds._FIGURES_S", 4.0)
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    bob, eve = await come(io, "/late"), await come(io)
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "all_sockets", sid=ada)
    await asyncio.sleep(0.8)  # what others did not tell has come
    await io.bus.registry.register_io_node(io.id, {"level": "3", **Figures(namespaces={"/late": 1}).encoded()})
    await io.until(lambda: bob in [client["id"] for client, _ in named(io, "socket_connected", ada)])
    await until_known(sio, ada)
    assert eve not in [client["id"] for client, _ in named(io, "socket_connected", ada)]
    assert len(named(io, "all_sockets", ada)) == 1


async def test_where_more_changed_than_is_told_the_list_comes_anew(stage: Any, monkeypatch: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    monkeypatch.setattr("app_node.admin.rounds.MOST_CHANGES", 3)
    monkeypatch.setattr("app_node.admin.rounds._ROUND_S", 1.0)
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "all_sockets", sid=ada)
    new = {await come(io) for _ in range(5)}
    lists = await heard(io, "all_sockets", 2, ada)
    assert new <= {client["id"] for client in lists[1][0]}


async def test_a_client_for_which_the_list_has_no_room_any_more_has_not_gone(stage: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("app_node.admin.newest_clients.MOST_SOCKETS", 2)
    monkeypatch.setattr("app_node.admin.rounds._ROUND_S", 1.0)
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    await come(io)
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "all_sockets", sid=ada)
    await come(io)
    newest = await come(io)
    await until_known(sio, ada)
    assert newest in [client["id"] for client, _ in named(io, "socket_connected", ada)]
    assert named(io, "socket_disconnected", ada) == []


async def test_where_the_app_node_dies_before_it_has_sent_one_another_does(stage: Any, monkeypatch: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()

    async def dies(sid: str) -> None:
        await asyncio.Event().wait()

    await sio.start()
    monkeypatch.setattr(sio._console._rounds, "introduce", dies)
    bob, ada = await io.connect(), await io.connect("/admin", PASSWORD)
    await heard(io, "config", sid=ada)
    await sio.shutdown()
    assert named(io, "all_sockets", ada) == []
    other = instrumented(stage, mode="development")
    await other.start()
    [[clients]] = await heard(io, "all_sockets", sid=ada)
    assert bob in [client["id"] for client in clients]
    await until_known(other, ada)
    for _ in range(3):
        await other._console._rounds._round()
    assert len(named(io, "all_sockets", ada)) == 1


async def test_an_app_node_that_takes_over_sends_no_second_one(stage: Any) -> None:
    sio, io = instrumented(stage, mode="development"), await stage.io_node()
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await until_known(sio, ada)
    await sio.shutdown()
    other = instrumented(stage, mode="development")
    await other.start()
    await stage.until(lambda: ada in other._console._rounds.watchers)
    await asyncio.sleep(1.0)  # longer than it takes until one without a list gets it
    await other._console._rounds._round()
    assert len(named(io, "all_sockets", ada)) == 1
    assert [command for command in io.commands if isinstance(command, Emit)]
    assert "config" in {event for event, *_ in said(io, ada)}
