"""Io-nodes that die while their clients may come back."""

import asyncio
from typing import Any

import pytest

from app_node.membership import farewells, parked_homes
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.messages import Command, Emit, Join

from ..conftest import PATIENCE_S
from .returning import Returning

pytestmark = pytest.mark.slow


@pytest.fixture
def stage(stage: Any) -> Any:
    """Leases are long: who gets no processor for 0.6 s would lose its lanes in the middle of a burial."""
    stage.config = stage.config.model_copy(update={"lease_ms": 8000, "node_timeout_ms": 9000})
    return stage


async def io_node(stage: Any, name: str) -> Any:
    io = await stage.io_node(name)
    await io.bus.registry.register_io_node(io.id, {"level": "2"})
    return io


async def said(io: Any) -> list[Command]:
    """All that the io-node's home has kept."""
    entries = await io.bus.homes.page(io.id, b"0-0")
    return [command for entry in entries for command in decode_downlink(entry.entry).commands]


async def dies(io: Any) -> None:
    io._reader.cancel()
    await io.bus.registry.heartbeat(io.id, 1)


async def test_its_clients_come_back_elsewhere(stage: Any, application: Any) -> None:
    """What is said to them meanwhile waits in their home, and none of them goes twice."""
    app, home, other = application(), await io_node(stage, "io1"), await io_node(stage, "io2")
    await app.sio.start()
    clients = [Returning(home) for _ in range(20)]
    for client in clients:
        await client.come()
    await home.settle()
    await dies(home)
    await stage.until(lambda: app.heard.count("node lost") == 20)
    await other.settle()
    assert await other.bus.registry.parked_io_nodes() == [home.id]
    assert await other.bus.registry.lost_io_nodes() == []
    sid = clients[0].sid
    await app.sio.enter_room(sid, "news")
    await app.sio.emit("hello", room="news")
    assert [type(command) for command in (await said(home))[-2:]] == [Join, Emit]
    for client in clients:
        await other.send(await client.claim(other))
    await stage.until(lambda: app.heard.count("connect recovered") == 20)
    await other.settle()
    assert sorted(app.sio.rooms(sid)) == sorted([sid, "news"])
    assert app.heard.count("node lost") == 20
    assert await other.bus.records.away(home.id) == 20


async def test_one_that_comes_back_before_the_burial(stage: Any, application: Any) -> None:
    """The burial says nothing of it."""
    app, home, other = application(), await io_node(stage, "io1"), await io_node(stage, "io2")
    await app.sio.start()
    client = Returning(home)
    await client.come()
    await other.send(await client.claim(other))
    await stage.until(lambda: app.heard == ["connect", "transport close", "connect recovered"])
    await dies(home)
    await stage.until(lambda: app.sio.node.counters.io_nodes_lost == 1)
    await asyncio.sleep(0.5)
    await other.settle()
    assert app.heard == ["connect", "transport close", "connect recovered"]
    assert await other.bus.registry.parked_io_nodes() == [home.id]


async def test_the_io_node_to_which_a_client_came_back_dies_too(stage: Any, application: Any) -> None:
    app, home, other = application(), await io_node(stage, "io1"), await io_node(stage, "io2")
    third = await io_node(stage, "io3")
    await app.sio.start()
    client = Returning(home)
    await client.come()
    await other.send(await client.claim(other))
    await stage.until(lambda: "connect recovered" in app.heard)
    await dies(other)
    await stage.until(lambda: app.heard[-1] == "node lost")
    await third.send(await client.claim(third))
    await client.let_in()
    assert app.heard == ["connect", "transport close", "connect recovered", "node lost", "connect recovered"]


async def test_the_home_ends_when_nobody_has_come_back(
    stage: Any, application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked_homes, "SWEEP_S", 0.1)
    stage.config = stage.config.model_copy(update={"recovery_window_ms": 500})
    app, home, other = application(), await io_node(stage, "io1"), await io_node(stage, "io2")
    await app.sio.start()
    client = Returning(home)
    await client.come()
    await app.sio.enter_room(client.sid, "news")
    await home.settle()
    await dies(home)
    await stage.until(lambda: "node lost" in app.heard)
    async with asyncio.timeout(PATIENCE_S):
        while home.id in await other.bus.registry.registered_io_nodes():  # Redis tells nobody
            await asyncio.sleep(0.05)
    assert await other.bus.homes.horizon(home.id) is None
    assert await other.bus.records.load(client.sid) is None
    assert await other.bus.records.clients_of(home.id) == []


async def test_another_app_node_goes_on_with_the_burial(
    stage: Any, application: Any, monkeypatch: pytest.MonkeyPatch, kill: Any
) -> None:
    """The first one was killed between two chunks. Each client is told of, and nobody goes twice."""
    monkeypatch.setattr(farewells, "CHUNK", 10)
    monkeypatch.setattr(farewells, "PAUSE_S", 60)
    stage.config = stage.config.model_copy(update={"lease_ms": 1000})
    first, second, home = application(), application(), await io_node(stage, "io1")
    other = await io_node(stage, "io2")
    await first.sio.start()
    clients = [Returning(home) for _ in range(50)]
    for client in clients:
        await client.come()
    await home.settle()
    await dies(home)
    await stage.until(lambda: first.heard.count("node lost") == 10)
    await other.settle()
    await kill(first.sio)
    monkeypatch.setattr(farewells, "PAUSE_S", 0.01)
    await second.sio.start()
    await stage.until(lambda: second.heard.count("node lost") == 40, 20)
    await other.settle()
    assert second.sio.node.counters.reaper_facts_written == 40
    assert await other.bus.records.clients_of(home.id) == []
