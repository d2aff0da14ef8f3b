"""Questions to many while clients are away, or held by another io-node than their home, which may be dead."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import AckExpected, AckReceived, Emit

from ..conftest import PATIENCE_S

pytestmark = pytest.mark.slow

LONG_S = 600
"""A time-out that no test waits for."""


@pytest.fixture
def stage(stage: Any) -> Any:
    """Leases are long: who gets no processor for 0.6 s would lose its lanes in the middle of a burial."""
    stage.config = stage.config.model_copy(update={"lease_ms": 8000, "node_timeout_ms": 9000})
    return stage


@pytest.fixture
async def world(stage: Any, application: Any, returning: Any) -> Any:
    """An application that holds all lanes, a client that is connected, its home, and another io-node."""
    app, home, other = application(), await stage.io_node("io1"), await stage.io_node("io2")
    for node in (home, other):
        await node.bus.registry.register_io_node(node.id, {"level": "3"})
    client = returning(home)
    await app.sio.start()
    await client.come()
    await home.settle()
    return SimpleNamespace(app=app, sio=app.sio, home=home, other=other, client=client)


async def ask(world: Any, room: str | None = None) -> tuple[Any, Any]:
    """A question to everybody, or to a room. The other io-node says whom it has asked of its own home: nobody."""
    asking = asyncio.ensure_future(world.sio.call_many("who", room=room, timeout=LONG_S))
    ack = (await world.other.wait(1, Emit))[-1].ack
    await world.other.to_app_node(ack.app_node, AckExpected(world.other.id, ack.ack_id, []))
    return asking, ack


async def killed(world: Any, stage: Any) -> None:
    """The home is killed, and buried. Its inbox is still read, by whoever takes its clients over."""
    await world.home.bus.registry.heartbeat(world.home.id, 1)
    await stage.until(lambda: world.app.heard[-1] == reasons.NODE_LOST)
    await world.other.settle()


async def test_one_that_is_away_and_its_home_is_dead(world: Any, stage: Any) -> None:
    await killed(world, stage)
    asking, _ = await ask(world)
    answers = await asyncio.wait_for(asking, PATIENCE_S)
    assert (dict(answers), answers.missing) == ({}, {world.client.sid: "disconnected"})


async def test_one_of_a_room_that_is_away_and_its_home_is_dead(world: Any, stage: Any) -> None:
    """The room index names those who are away, too."""
    await world.sio.enter_room(world.client.sid, "red")
    await killed(world, stage)
    asking, _ = await ask(world, "red")
    answers = await asyncio.wait_for(asking, PATIENCE_S)
    assert (dict(answers), answers.missing) == ({}, {world.client.sid: "disconnected"})


async def test_one_that_has_come_back_and_its_home_is_dead(world: Any, stage: Any) -> None:
    await killed(world, stage)
    await world.client.come_back(world.other)
    asking, ack = await ask(world)
    await asyncio.sleep(0.1)
    assert not asking.done()
    sid = world.client.sid
    await world.other.to_app_node(
        ack.app_node, AckExpected(world.home.id, ack.ack_id, [sid]), AckReceived(sid, ack.ack_id, b"[1]")
    )
    assert dict(await asyncio.wait_for(asking, PATIENCE_S)) == {sid: 1}


async def test_one_that_has_come_back_and_its_holder_dies_too(world: Any, stage: Any) -> None:
    await killed(world, stage)
    await world.client.come_back(world.other)
    asking, ack = await ask(world)
    await world.other.to_app_node(ack.app_node, AckExpected(world.home.id, ack.ack_id, [world.client.sid]))
    world.other._reader.cancel()
    await world.other.bus.registry.heartbeat(world.other.id, 1)
    answers = await asyncio.wait_for(asking, PATIENCE_S)
    assert answers.missing == {world.client.sid: "node lost"}


async def test_one_that_came_back_behind_the_question(world: Any, stage: Any) -> None:
    """Its new io-node reads on behind the question, so it is not asked, and nobody says so."""
    await killed(world, stage)
    await world.client.come_back(world.other)
    asking, _ = await ask(world)
    answers = await asyncio.wait_for(asking, PATIENCE_S)
    assert answers.missing == {world.client.sid: "disconnected"}
