"""What the page of the Admin UI is told of nodes; over the fakes and over Valkey."""

from typing import Any

import pytest

from sio_cluster.protocol.figures import Figures
from sio_cluster.protocol.messages import (
    Emit,
)

from .watching import PASSWORD, heard, instrumented, named

pytestmark = pytest.mark.slow


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
    watched, holds = [False], [True]
    while watched != holds or not any(holds):  # lanes still move, since the second server has just come
        for server in servers:
            await server._console._rounds._round()
        infos = await one.bus.registry.app_nodes()
        watched = ["watched" in infos[server.node.id] for server in servers]
        holds = [server.node.keeper.holds(0) for server in servers]
    emits = [command for command in one.commands if isinstance(command, Emit) and b"server_stats" in command.packet]
    assert all(emit.volatile for emit in emits)
    assert not [command for command in two.commands if isinstance(command, Emit)], "nobody watches there"


async def test_names_that_clients_invent_displace_no_namespace_and_are_not_all_kept(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    sio.on("connect", lambda sid, environ: None, namespace="/orders")
    await sio.start()
    newest = sio._console._rounds._newest
    for look in range(3):
        figures = Figures(namespaces={f"/!{look}-{number}": 1 for number in range(100)})
        await io.bus.registry.register_io_node(io.id, {"level": "3", **figures.encoded()})
        names = await newest.all_namespaces()
    assert {"/", "/admin", "/orders", "/!0-0"} <= set(names)
    assert len(names) == len(newest.namespaces) == 100


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
