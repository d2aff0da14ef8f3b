"""Io-nodes that die, and io-nodes that come back."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.messages import RECOVERY_LEVEL, Emit

pytestmark = pytest.mark.slow


@pytest.fixture
def stage(stage: Any) -> Any:
    """Leases are long: who gets no processor for 0.6 s would lose its lanes in the middle of a burial."""
    stage.config = stage.config.model_copy(update={"lease_ms": 8000, "node_timeout_ms": 9000})
    return stage


async def test_clients_of_a_lost_io_node_are_disconnected_once(stage: Any) -> None:
    seen = []
    sio = stage.server()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append((sid, reason))

    io = await stage.io_node()
    await sio.start()
    sids = [await io.connect() for _ in range(250)]
    await io.disconnect(sids[0])
    await io.settle()
    await io.bus.registry.heartbeat(io.id, 1)
    await stage.until(lambda: len(seen) == 250)
    await io.lanes_emptied()
    assert sorted(seen[1:]) == sorted((sid, "node lost") for sid in sids[1:])
    assert seen[0] == (sids[0], "transport close")
    assert await io.bus.registry.lost_io_nodes() == []
    assert await io.bus.records.clients_of(io.id) == []


async def test_an_io_node_that_comes_back_while_its_clients_are_disconnected(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds itself not registered, and closes its connections: none stays open that the application has seen off."""
    monkeypatch.setattr("app_node.membership.farewells.PAUSE_S", 0.5)  # it comes back between the two chunks
    seen: list[str] = []
    sio = stage.server()
    begun = asyncio.Event()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append(sid)
        begun.set()

    io = await stage.io_node(level=RECOVERY_LEVEL - 1)  # else its home is kept, parked
    await sio.start()
    sids = [await io.connect() for _ in range(250)]
    await io.bus.registry.heartbeat(io.id, 1)
    await asyncio.wait_for(begun.wait(), 8)
    await io.bus.registry.heartbeat(io.id, 60_000)
    assert io.id not in await io.bus.registry.registered_io_nodes()
    await io.bus.registry.register_io_node(io.id, {})
    newer = await io.connect()
    await stage.until(lambda: sio.node.counters.io_nodes_lost == 1)
    await io.settle()
    assert sorted(seen) == sorted(sids)
    assert await io.bus.registry.registered_io_nodes() == [io.id]
    assert await io.bus.records.clients_of(io.id) == [(newer, 0)]


async def test_the_reaper_is_not_taken_for_an_io_node(stage: Any) -> None:
    sio = stage.echo_server()
    gone, io = await stage.io_node("io1"), await stage.io_node("io2")
    await sio.start()
    for _ in range(5):
        await gone.connect()
    await gone.bus.registry.heartbeat(gone.id, 1)
    await stage.until(lambda: sio.node.counters.clients_disconnected == 5)
    await asyncio.sleep(0.6)
    await sio.emit("news")
    await io.wait(1, Emit)
    assert sio.node.id not in set(await sio.node.downlink.routes.all())
