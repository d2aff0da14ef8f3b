"""RECOVERY_NOTICE=late: the application hears of a client that is back in time by `connect` alone, and of one that is
not by one `disconnect`, when its time is over."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from app_node.counters import STALE_DISCONNECT
from app_node.membership import parked_homes
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Accept, Ack, Disconnect, Refuse
from sio_cluster.streams.api.records import ClaimRefused

from ..conftest import PATIENCE_S
from .returning import PID, forgotten

pytestmark = pytest.mark.slow

BRIEF_MS = 300
BACK = ["connect", "connect recovered"]


@pytest.fixture
def stage(stage: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(parked_homes, "SWEEP_S", 0.05)
    stage.config = stage.config.model_copy(update={"recovery_notice": "late", "recovery_window_ms": BRIEF_MS})
    return stage


@pytest.fixture
async def world(stage: Any, application: Any, returning: Any) -> Any:
    """An application, an io-node, and a client of it that is connected."""
    app, home = application(), await stage.io_node("io1")
    client = returning(home)
    await app.sio.start()
    await client.come()
    await home.settle()
    return SimpleNamespace(app=app, sio=app.sio, counters=app.sio.node.counters, home=home, client=client)


async def test_one_that_is_back_in_time(world: Any, stage: Any) -> None:
    other = await stage.io_node("io2")
    sid = world.client.sid
    await world.sio.enter_room(sid, "lobby")
    await world.client.lose()
    assert world.sio.manager.is_connected(sid, "/")
    assert sorted(world.sio.rooms(sid)) == sorted([sid, "lobby"])
    assert (await world.home.bus.records.load(sid)).away
    await world.client.come_back(other)
    await other.settle()
    assert world.app.heard == BACK
    assert world.sio.was_recovered(sid)
    assert sorted(world.sio.rooms(sid)) == sorted([sid, "lobby"])
    assert world.counters.clients_recovered == 1
    assert world.counters.disconnects_implied == world.counters.clients_disconnected == 0


async def test_one_that_is_not(world: Any) -> None:
    await world.client.lose(reason="ping timeout", keep_ms=BRIEF_MS)
    assert world.app.heard == ["connect"]
    await forgotten(world.home, world.client)
    assert world.app.heard == ["connect", "ping timeout"]
    assert not world.sio.manager.is_connected(world.client.sid, "/")
    assert world.sio.node.clients.known.get(world.client.sid) is None
    assert world.counters.reaper_facts_written == 1


async def test_many_times(world: Any, stage: Any) -> None:
    """Each time it has the whole window again."""
    other = await stage.io_node("io2")
    for holder in (world.home, other) * 3:
        await world.client.lose(reason="transport error")
        await world.client.come_back(holder)
    await world.client.lose(keep_ms=BRIEF_MS)
    await forgotten(world.home, world.client)
    assert world.app.heard == ["connect", *["connect recovered"] * 6, "transport close"]


async def test_one_whose_former_connection_is_half_open(world: Any) -> None:
    await world.client.come_back()
    await world.home.send(world.client.gone("ping timeout", generation=0, keep_ms=BRIEF_MS))
    await world.home.settle()
    assert world.counters.outcomes[STALE_DISCONNECT] == 1
    assert world.app.heard == BACK
    await world.client.lose(keep_ms=BRIEF_MS)
    await forgotten(world.home, world.client)
    assert world.app.heard == [*BACK, "transport close"]


@pytest.mark.parametrize("former", ["away", "half-open"])
async def test_one_that_is_refused_when_it_is_back(world: Any, former: str) -> None:
    """That ends the session, so the application hears of its end."""
    if former == "away":
        await world.client.lose()
    world.app.refuses = True
    await world.home.send(await world.client.claim())
    await world.home.wait(1, Refuse)
    await world.home.send(world.client.gone(generation=0))
    await world.home.settle()
    assert world.app.heard == [*BACK, "server disconnect"]
    assert await world.home.bus.records.load(world.client.sid) is None


async def test_one_whose_end_was_told_and_who_is_refused_when_it_is_back(world: Any, monkeypatch: Any) -> None:
    """It comes back while its disconnect is written down, by a slow Redis, and gets no second one."""
    flush = world.sio.node.bus.appender.flush

    async def slow(*arguments: Any) -> Any:
        await asyncio.sleep(0.1)
        return await flush(*arguments)

    monkeypatch.setattr(world.sio.node.bus.appender, "flush", slow)

    @world.sio.event
    async def disconnect(sid: str, reason: str) -> None:
        world.app.heard.append(reason)
        await world.sio.emit("gone")

    await world.home.send(world.client.gone(keep_ms=0), await world.client.claim())
    world.app.refuses = True
    await world.home.wait(1, Refuse)
    await world.home.settle()
    assert world.app.heard == ["connect", "transport close", "connect recovered"]


async def test_a_disconnect_for_good_is_told_at_once(world: Any) -> None:
    await world.client.lose(reason="client disconnect", keep_ms=0)
    assert world.app.heard == ["connect", "client disconnect"]


async def test_a_client_of_a_drained_io_node(world: Any, stage: Any) -> None:
    """Its home waits for it, and then ends."""
    other = await stage.io_node("io2")
    await world.home.send(world.client.gone("node drained", keep_ms=BRIEF_MS))
    await world.home.settle()
    await other.bus.homes.park(world.home.id, 1_000_000)
    assert world.app.heard == ["connect"]
    await forgotten(other, world.client)
    assert world.app.heard == ["connect", "node drained"]
    async with asyncio.timeout(PATIENCE_S):
        while world.home.id in await other.bus.registry.registered_io_nodes():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_client_of_an_io_node_that_was_killed(
    stage: Any, application: Any, returning: Any, comes_back: bool
) -> None:
    window_ms = 60_000 if comes_back else BRIEF_MS
    stage.config = stage.config.model_copy(
        update={"lease_ms": 8000, "node_timeout_ms": 9000, "recovery_window_ms": window_ms}
    )
    app, home, other = application(), await stage.io_node("io1"), await stage.io_node("io2")
    for io in (home, other):
        await io.bus.registry.register_io_node(io.id, {"level": "2"})
    client = returning(home)
    await app.sio.start()
    await client.come()
    await home.settle()
    home._reader.cancel()
    await home.bus.registry.heartbeat(home.id, 1)
    await stage.until(lambda: app.sio.node.counters.reaper_facts_written == 1)
    await other.settle()
    assert app.heard == ["connect"]
    if comes_back:
        await other.send(await client.claim(other))
        await stage.until(lambda: app.heard == BACK)
    else:
        await forgotten(other, client)
        assert app.heard == ["connect", "node lost"]


async def test_the_application_disconnects_it_meanwhile(world: Any) -> None:
    await world.client.lose(keep_ms=BRIEF_MS)
    await world.sio.disconnect(world.client.sid)
    assert world.app.heard == ["connect", "server disconnect"]
    await forgotten(world.home, world.client)
    await asyncio.sleep(2 * BRIEF_MS / 1000)
    await world.home.settle()
    assert world.app.heard == ["connect", "server disconnect"]
    assert not await world.client.claimable()


async def test_another_app_node_disconnects_it_meanwhile(world: Any, stage: Any) -> None:
    """It cannot come back from then on. The holder of its lane runs its handler."""
    await world.client.lose()
    await stage.server().disconnect(world.client.sid)
    await world.home.wait(1, Disconnect)
    claim = await world.home.bus.records.claim(world.client.sid, "/", PID, world.home.id)
    assert claim is ClaimRefused.GONE
    await forgotten(world.home, world.client)
    assert world.app.heard == ["connect", "server disconnect"]


async def test_the_connect_handler_disconnects_it_when_it_is_back(world: Any) -> None:
    heard = world.app.heard

    @world.sio.event
    async def connect(sid: str, environ: Any, auth: Any, is_recovered: bool) -> None:
        heard.append("connect recovered")
        await world.sio.disconnect(sid)

    await world.client.lose()
    await world.home.send(await world.client.claim())
    await world.home.wait(1, Refuse)
    await world.home.settle()
    assert heard == [*BACK, "server disconnect"]


async def test_a_claim_whose_connect_never_comes(world: Any, stage: Any) -> None:
    """Its io-node lost it before it could say so. It may still come back; if it does not, the last reason counts."""
    other = await stage.io_node("io2")
    await world.client.claim(other)
    await world.client.lose(other, reason="transport error")
    assert world.app.heard == ["connect"]
    await world.client.come_back()
    await world.client.lose()
    await world.client.claim(other)
    await world.client.lose(other, reason="transport error", keep_ms=BRIEF_MS)
    await forgotten(world.home, world.client)
    assert world.app.heard == [*BACK, "transport error"]


async def test_the_application_disconnects_it_after_such_a_claim(world: Any, stage: Any) -> None:
    other = await stage.io_node("io2")
    await world.client.lose()
    await world.client.claim(other)
    await world.client.lose(other, keep_ms=BRIEF_MS)
    await world.sio.disconnect(world.client.sid)
    await forgotten(world.home, world.client)
    assert world.app.heard == ["connect", "server disconnect"]


async def test_a_client_whose_home_is_gone_is_told_of_at_once(world: Any, stage: Any) -> None:
    """It could not come back, and nobody would look after it."""
    other = await stage.io_node("io2")
    world.home._reader.cancel()
    await asyncio.wait([world.home._reader])
    await other.bus.registry.unregister_io_node(world.home.id)
    await other.send(world.client.gone("transport error"))
    await other.settle()
    assert world.app.heard == ["connect", "transport error"]
    assert await other.bus.records.load(world.client.sid) is None


async def test_what_was_asked_of_it_is_not_waited_for(world: Any) -> None:
    """It has forgotten the question when it comes back. If its io-node died, nobody else says so."""
    answers: list[Any] = []
    await world.sio.emit("question", to=world.client.sid, callback=answers.append)
    assert len(world.sio.node.clients.callbacks._of_clients) == 1
    await world.client.lose(reason=reasons.NODE_LOST)
    assert not world.sio.node.clients.callbacks._of_clients


async def test_it_is_as_connected_for_events_that_come_late(world: Any) -> None:
    """As from a Redis that failed over, and has entries again."""
    await world.client.lose()
    await world.home.event(world.client.sid, "rooms", ack_id=1)
    await world.home.wait(1, Ack)
    await world.home.send(world.home.connected(sid=world.client.sid))
    await world.client.come_back()
    await world.home.settle()
    assert world.app.heard == BACK
    assert Accept(world.client.sid, 1) in world.home.commands


async def test_redis_loses_its_data(world: Any, stage: Any) -> None:
    """Then nobody knows of the client any more: it comes back as a new one, and the former one gets no disconnect."""
    await world.client.lose()
    if stage.broker is not None:
        stage.broker.lose_data()
    else:
        await world.home.bus.connections.run(("FLUSHALL",))
        await stage.until(lambda: world.sio.node.clients.known.get(world.client.sid) is None)
    assert not await world.client.claimable()
    assert world.app.heard == ["connect"]
