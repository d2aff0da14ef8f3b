"""Clients that are away and come back: who is present does not flicker, and nobody stays behind."""

from types import SimpleNamespace
from typing import Any

import pytest

from sio_cluster.protocol import reasons

from ..presences import page_of

pytestmark = pytest.mark.slow

ROOM = "lobby"


@pytest.fixture
async def world(stage: Any, application: Any, returning: Any) -> Any:
    """Two clients that are in a room and present there, one of which watches it, and two io-nodes."""
    stage.config = stage.config.model_copy(update={"lease_ms": 8000, "node_timeout_ms": 9000})
    app, home, other = application(), await stage.io_node("io1"), await stage.io_node("io2")
    for node in (home, other):
        await node.bus.registry.register_io_node(node.id, {"level": "3"})
    await app.sio.start()
    watcher, client = returning(other), returning(home)
    world = SimpleNamespace(app=app, sio=app.sio, home=home, other=other, watcher=watcher, client=client)
    for one in (watcher, client):
        await one.come()
        await app.sio.enter_room(one.sid, ROOM)
    await app.sio.presence(ROOM).track(watcher.sid, "grace")
    await app.sio.presence(ROOM).send_state(watcher.sid)
    return world


async def track(world: Any, linger: float) -> None:
    await world.sio.presence(ROOM, linger=linger).track(world.client.sid, "ada")
    await sees(world, ["ada", "grace"])


async def sees(world: Any, *keys: list[str]) -> None:
    """The watcher sees the last of these keys, and since the beginning no others than these before."""
    await world.other.until(lambda: seen(world)[-1] == keys[-1])
    assert seen(world)[-len(keys) :] == list(keys)


def seen(world: Any) -> list[list[str]]:
    return page_of(world.other.commands, ROOM, world.watcher.sid).keys


async def test_one_that_comes_back_was_there_all_the_time(world: Any) -> None:
    await track(world, 30)
    await world.client.lose()
    assert world.app.heard[-1] == reasons.TRANSPORT_CLOSE
    assert sorted(await world.sio.presence(ROOM).list()) == ["ada", "grace"]
    await world.client.come_back(world.other)
    await world.sio.presence(ROOM).track(world.client.sid, "ada")  # what a connect handler may say again
    await world.other.send(world.client.gone(keep_ms=0))
    await sees(world, ["grace"], ["ada", "grace"], ["grace"])


async def test_one_that_does_not_is_gone_after_a_while(world: Any) -> None:
    await track(world, 0.05)
    await world.client.lose()
    await sees(world, ["ada", "grace"], ["grace"])
    await world.client.come_back()
    await world.sio.presence(ROOM).track(world.client.sid, "ada")
    await sees(world, ["grace"], ["ada", "grace"])


async def test_an_io_node_dies_and_its_client_is_somewhere_else(world: Any, stage: Any) -> None:
    await track(world, 30)
    await world.home.bus.registry.heartbeat(world.home.id, 1)
    await stage.until(lambda: world.app.heard[-1] == reasons.NODE_LOST)
    await world.client.come_back(world.other)
    assert sorted(await world.sio.presence(ROOM).list()) == ["ada", "grace"]
    assert seen(world) == [[], ["grace"], ["ada", "grace"]]


async def test_an_io_node_dies_with_its_client(world: Any) -> None:
    await track(world, 0.05)
    await world.home.bus.registry.heartbeat(world.home.id, 1)
    await sees(world, [], ["grace"], ["ada", "grace"], ["grace"])
    assert list(await world.sio.presence(ROOM).list()) == ["grace"]
