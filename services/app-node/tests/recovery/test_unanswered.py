"""Questions to clients that are not connected, or lose their connection before they have answered."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import socketio

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import AckMissed, AckReceived, Emit

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
    """An application that holds all lanes, a program that only emits, and a client that is connected."""
    app, program, home = application(), stage.server(), await stage.io_node("io1")
    await home.bus.registry.register_io_node(home.id, {"level": "2"})
    client = returning(home)
    await app.sio.start()
    await client.come()
    await home.settle()
    return SimpleNamespace(app=app, sio=app.sio, program=program, home=home, client=client)


@pytest.fixture(params=["the holder of the lane", "a program that only emits"])
def asker(world: Any, request: pytest.FixtureRequest) -> Any:
    return world.sio if request.param == "the holder of the lane" else world.program


async def ask(world: Any, sio: Any, number: int = 1) -> tuple[Any, Any]:
    """A call that has reached the home of the client, as its `number`th question."""
    call = asyncio.ensure_future(sio.call("who", to=world.client.sid, timeout=LONG_S))
    return call, (await world.home.wait(number, Emit))[-1].ack


async def fails(call: Any, timeout_s: float = PATIENCE_S) -> None:
    with pytest.raises(socketio.exceptions.DisconnectedError):
        await asyncio.wait_for(call, timeout_s)


def never(*args: Any) -> None:
    raise AssertionError("called, although nobody has answered")


async def dies(io: Any) -> None:
    """As kill -9."""
    io._reader.cancel()
    await io.bus.registry.heartbeat(io.id, 1)


async def test_the_io_node_says_that_no_answer_comes(world: Any, asker: Any) -> None:
    call, asked = await ask(world, asker)
    assert asked.hears_missed
    await asker.emit("x", to=world.client.sid, callback=never)
    of_emit = (await world.home.wait(2, Emit))[-1].ack
    await world.home.to_app_node(
        asked.app_node, *[AckMissed(world.client.sid, ack.ack_id) for ack in (asked, of_emit, of_emit)]
    )
    await fails(call)
    assert asker.node.counters.acks_missed == 2
    assert len(asker.node.clients.callbacks) == 0


async def test_an_answer_that_came_before_wins(world: Any, asker: Any) -> None:
    call, asked = await ask(world, asker)
    sid = world.client.sid
    await world.home.to_app_node(asked.app_node, AckReceived(sid, asked.ack_id, b"[1]"), AckMissed(sid, asked.ack_id))
    assert await call == 1
    assert asker.node.counters.acks_missed == 0


async def test_an_answer_that_is_read_after_the_disconnect_was_handled_wins(world: Any, asker: Any) -> None:
    """Lane and inbox are two streams, and nobody says which is read first."""
    call, asked = await ask(world, asker)
    await world.client.lose()
    assert world.app.heard[-1] == "transport close"
    await world.home.answer(asked.app_node, asked.ack_id, world.client.sid, "me")
    assert await call == "me"


async def test_one_of_another_namespace_is_not_asked(world: Any, asker: Any) -> None:
    """Its sid stands for it in its own namespace alone."""
    with pytest.raises(socketio.exceptions.DisconnectedError, match="another namespace"):
        await asyncio.wait_for(asker.call("who", to=world.client.sid, namespace="/chat", timeout=LONG_S), PATIENCE_S)
    assert asker.node.counters.acks_missed == 1
    await asker.emit("end", to=world.client.sid)
    assert [emit.packet for emit in await world.home.wait(1, Emit)] == [b'2["end"]']


async def test_a_callback_of_another_namespace_is_not_kept(world: Any) -> None:
    await world.sio.emit("x", to=world.client.sid, namespace="/chat", callback=never)
    assert world.sio.node.counters.acks_missed == 1
    assert len(world.sio.node.clients.callbacks) == 0


async def test_one_that_is_away_is_not_asked(world: Any, asker: Any) -> None:
    await world.client.lose()
    await fails(asker.call("who", to=world.client.sid, timeout=LONG_S), PATIENCE_S)
    assert asker.node.counters.acks_missed == 1
    assert len(asker.node.clients.callbacks) == 0
    assert not [command for command in world.home.commands if isinstance(command, Emit)]


async def test_one_that_is_away_and_its_home_is_parked(world: Any, asker: Any, stage: Any) -> None:
    other = await stage.io_node("io2")
    await dies(world.home)
    await stage.until(lambda: world.app.heard[-1] == reasons.NODE_LOST)
    await other.settle()
    await fails(asker.call("who", to=world.client.sid, timeout=LONG_S), PATIENCE_S)
    await asker.emit("x", to=world.client.sid, callback=never)
    await stage.until(lambda: asker.node.counters.acks_missed == 2)
    await fails(asker.call("who", to=world.home.connected().sid, timeout=LONG_S), PATIENCE_S)


async def test_one_that_has_come_back_is_asked(world: Any, asker: Any, stage: Any) -> None:
    other = await stage.io_node("io2")
    await world.client.lose()
    await world.client.come_back(other)
    call, asked = await ask(world, asker)
    await asyncio.sleep(0.6)  # it is looked at six times
    assert not call.done()
    await other.answer(asked.app_node, asked.ack_id, world.client.sid, "me")
    assert await call == "me"


async def test_one_whose_home_is_gone_altogether(world: Any, asker: Any) -> None:
    sid = world.home.connected(sid="io9-zzzzzz.AAAAAAAAAAAAAAAA").sid
    await fails(asker.call("who", to=sid, timeout=LONG_S), PATIENCE_S)
    await asker.emit("x", to=sid, callback=never)
    assert asker.node.counters.recipients_gone == 2
    assert asker.node.counters.acks_missed == 2
    assert len(asker.node.clients.callbacks) == 0


async def test_its_io_node_is_killed(world: Any, asker: Any, stage: Any) -> None:
    """Nobody says what it owed. It is known when the io-node is buried."""
    call, _ = await ask(world, asker)
    await asker.emit("x", to=world.client.sid, callback=never)
    await dies(world.home)
    await fails(call)
    await stage.until(lambda: asker.node.counters.acks_missed == 2)
    assert world.app.heard[-1] == reasons.NODE_LOST
    assert len(asker.node.clients.callbacks) == 0


async def test_its_io_node_is_killed_and_nobody_may_come_back(stage: Any, application: Any) -> None:
    stage.config = stage.config.model_copy(update={"recovery_window_ms": 0})
    app, program, home = application(), stage.server(), await stage.io_node("io1")
    await app.sio.start()
    sid = await home.connect()
    calls = [asyncio.ensure_future(sio.call("who", to=sid, timeout=LONG_S)) for sio in (app.sio, program)]
    await home.wait(2, Emit)
    await dies(home)
    for call in calls:
        await fails(call)


async def test_its_io_node_is_killed_and_it_comes_back_before_the_burial(world: Any, asker: Any, stage: Any) -> None:
    """The connection that was asked is gone, though the client is there."""
    other = await stage.io_node("io2")
    call, _ = await ask(world, asker)
    world.home._reader.cancel()
    await other.send(await world.client.claim(other))
    await stage.until(lambda: world.app.heard[-1] == "connect recovered")
    await fails(call)
    call = asyncio.ensure_future(asker.call("who", to=world.client.sid, timeout=LONG_S))
    await asyncio.sleep(0.6)
    assert not call.done()
    call.cancel()


async def test_one_that_is_slow_to_answer_is_waited_for(world: Any, asker: Any) -> None:
    """Its record says that it is there, or Redis has lost the record, and its io-node lives."""
    call, asked = await ask(world, asker)
    nobody = world.home.connected().sid
    unknown = asyncio.ensure_future(asker.call("who", to=nobody, timeout=LONG_S))
    await world.home.wait(2, Emit)
    await asyncio.sleep(0.6)
    assert not call.done()
    assert not unknown.done()
    await world.home.answer(asked.app_node, asked.ack_id, world.client.sid, "me")
    assert await call == "me"
    unknown.cancel()


async def test_a_redelivered_handler_is_told_too(stage: Any, kill: Any, returning: Any) -> None:
    """The app-node that asked died, and meanwhile the client has gone."""
    stage.config = stage.config.model_copy(update={"lease_ms": 1000})
    outcomes: list[str] = []
    home = await stage.io_node("io1")
    other = await stage.io_node("io2")
    client = returning(home)

    def server() -> Any:
        sio = stage.server()

        @sio.event
        async def ask_them(sid: str, whom: str) -> None:
            try:
                await sio.call("who", to=whom, timeout=LONG_S)
            except socketio.exceptions.DisconnectedError:
                outcomes.append(f"gone, redelivered {sio.is_redelivered()}")

        return sio

    first, second = server(), server()
    await first.start()
    await client.come()
    asking = await other.connect()
    await other.event(asking, "ask_them", client.sid)
    await home.wait(1, Emit)
    await kill(first)
    await home.send(client.gone())
    await second.start()
    await home.wait(1, Emit)
    await stage.until(lambda: outcomes or sum(isinstance(command, Emit) for command in home.commands) > 1, 20)
    if not outcomes:  # it was asked before its disconnect was handled
        asked = (await home.wait(2, Emit))[-1].ack
        assert asked is not None
        await home.to_app_node(asked.app_node, AckMissed(client.sid, asked.ack_id))
    await stage.until(lambda: outcomes == ["gone, redelivered True"])
