"""Clients that claim their session back from an app-node that knows them."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from app_node.clients import lifecycle
from app_node.counters import STALE_CONNECT, STALE_DISCONNECT, STALE_UPGRADE, UNKNOWN_CLIENT
from sio_cluster.protocol.messages import Accept, Ack, ClientDisconnected, ClientUpgraded, Disconnect, Evict, Refuse

pytestmark = pytest.mark.slow

AGAIN = ["connect", "transport close", "connect recovered"]


@pytest.fixture
async def world(stage: Any, application: Any, returning: Any) -> Any:
    """An application, an io-node, and a client of it that is connected."""

    app, home = application(), await stage.io_node("io1")
    client = returning(home)
    await app.sio.start()
    await client.come(auth={"n": 1})
    return SimpleNamespace(app=app, sio=app.sio, counters=app.sio.node.counters, home=home, client=client)


async def test_after_its_disconnect(world: Any) -> None:
    await world.client.lose()
    await world.client.come_back(auth={"n": 2})
    await world.home.settle()
    assert world.app.heard == AGAIN
    assert world.app.auths == [{"n": 1}, {"n": 2}]
    assert world.sio.was_recovered(world.client.sid)
    assert world.counters.clients_recovered == 1
    assert world.counters.disconnects_implied == 0


async def test_before_its_disconnect(world: Any) -> None:
    """Its former connection is half-open: what is said of it later is stale."""
    await world.client.come_back()
    await world.home.send(world.client.gone("ping timeout", generation=0))
    await world.home.settle()
    assert world.app.heard == AGAIN
    assert world.counters.disconnects_implied == 1
    assert world.counters.outcomes[STALE_DISCONNECT] == 1
    assert world.sio.manager.is_connected(world.client.sid, "/")
    await world.client.lose()
    assert world.app.heard == [*AGAIN, "transport close"]


async def test_from_another_io_node(world: Any, stage: Any) -> None:
    """What is said to the client goes to its home. The environ is that of the new connection."""
    other = await stage.io_node("io2")
    await world.client.lose()
    sid = world.client.sid
    await world.client.come_back(other)
    await other.event(sid, "rooms", ack_id=1)
    await world.home.wait(1, Ack)
    assert other.commands == []
    assert world.sio.transport(sid) == "websocket"
    assert world.sio.node.clients.known.get(sid).holder == other.id
    await other.send(world.client.gone("ping timeout"))
    await other.settle()
    assert world.app.heard == [*AGAIN, "ping timeout"]


async def test_many_times(world: Any, stage: Any) -> None:
    other = await stage.io_node("io2")
    for holder in (world.home, other) * 3:
        await world.client.lose()
        await world.client.come_back(holder)
    await world.home.settle()
    assert world.app.heard == ["connect", *["transport close", "connect recovered"] * 6]
    assert world.client.generation == 6


async def test_rooms_and_session_are_there_in_the_handler(stage: Any, returning: Any) -> None:
    sio, seen = stage.server(), []

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        if not sio.was_recovered(sid):
            await sio.enter_room(sid, "lobby")
            await sio.save_session(sid, {"name": "ann"})
        seen.append((sorted(sio.rooms(sid)) == sorted([sid, "lobby", "late"]), await sio.get_session(sid)))

    @sio.event
    async def disconnect(sid: str) -> None:
        await sio.enter_room(sid, "late")

    home = await stage.io_node()
    client = returning(home)
    await sio.start()
    await client.come()
    await client.lose()
    await client.come_back()
    assert seen == [(False, {"name": "ann"}), (True, {"name": "ann"})]


@pytest.mark.parametrize("known", ["away", "half-open"])
async def test_what_its_disconnect_handler_says_is_written_before_it_connects(
    stage: Any, returning: Any, monkeypatch: pytest.MonkeyPatch, known: str
) -> None:
    """Redis is slow, and the client quick."""
    sio, seen = stage.server(), []
    records, appender = sio.node.bus.records, sio.node.bus.appender
    update, forget, flush = records.update, records.forget, appender.flush

    async def slow(write: Any, *arguments: Any) -> Any:
        await asyncio.sleep(0.1)
        return await write(*arguments)

    monkeypatch.setattr(records, "update", lambda *arguments: slow(update, *arguments))
    monkeypatch.setattr(records, "forget", lambda *arguments: slow(forget, *arguments))
    monkeypatch.setattr(appender, "flush", lambda *arguments: slow(flush, *arguments))

    @sio.event
    async def connect(sid: str, environ: Any, is_recovered: bool) -> None:
        if is_recovered:
            record = await records.load(sid)
            seen.append((record.let_in if known == "half-open" else None, record.rooms, set(sio.rooms(sid))))

    @sio.event
    async def disconnect(sid: str) -> None:
        await sio.enter_room(sid, "late")
        await sio.emit("gone")

    home = await stage.io_node()
    client = returning(home)
    await sio.start()
    await client.come()
    await home.settle()
    gone = [client.gone()] if known == "away" else []
    await home.send(*gone, await client.claim())
    await client.let_in()
    assert seen == [(None, {"late"}, {"late", client.sid})]
    await home.settle()
    assert sio.was_recovered(client.sid), "it is not forgotten with its former connection"


async def test_a_client_that_is_away_is_still_served(world: Any, stage: Any) -> None:
    """Its rooms and session can be changed by any app-node, and it finds them so."""
    sid = world.client.sid
    await world.client.lose()
    assert world.sio.node.clients.known.get(sid) is None
    assert not world.sio.manager.is_connected(sid, "/")
    other = stage.server()
    await other.enter_room(sid, "news")
    await other.save_session(sid, {"n": 1})
    await world.sio.emit("hello", to=sid)
    assert await world.sio.get_session(sid) == {"n": 1}
    await world.client.come_back()
    await world.home.event(sid, "rooms", ack_id=1)
    [ack] = await world.home.wait(1, Ack)
    assert json.loads(ack.packet[2:]) == [sorted(["news", sid])]


async def test_a_room_that_another_app_node_enters_while_the_handler_runs(stage: Any, returning: Any) -> None:
    """No io-node has the client yet, so none tells of it."""
    sio, other = stage.server(), stage.server()

    @sio.event
    async def connect(sid: str, environ: Any, is_recovered: bool) -> None:
        if is_recovered:
            await other.enter_room(sid, "news")

    home = await stage.io_node()
    client = returning(home)
    await sio.start()
    await client.come()
    await client.lose()
    await client.come_back()
    await home.settle()
    assert sorted(sio.rooms(client.sid)) == sorted([client.sid, "news"])


async def test_an_event_of_a_client_that_is_away_is_refused(world: Any) -> None:
    await world.client.lose()
    await world.home.event(world.client.sid, "rooms", ack_id=1)
    await world.home.settle()
    assert world.counters.outcomes[UNKNOWN_CLIENT] == 1
    await world.client.come_back()
    assert world.app.heard == AGAIN


async def test_who_is_refused_has_lost_the_session(world: Any) -> None:
    await world.client.lose()
    world.app.refuses = True
    await world.home.send(await world.client.claim())
    [refusal] = await world.home.wait(1, Refuse)
    await world.home.settle()
    assert (refusal.sid, refusal.generation) == (world.client.sid, 1)
    assert not await world.client.claimable()


async def test_who_is_sent_away_by_its_connect_handler_has_lost_the_session(world: Any) -> None:
    await world.client.lose()

    @world.sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await world.sio.disconnect(sid)

    await world.home.send(await world.client.claim())
    [refusal] = await world.home.wait(1, Refuse)
    await world.home.settle()
    assert (refusal.sid, refusal.generation) == (world.client.sid, 1)
    assert world.app.heard == ["connect", "transport close"]
    assert not await world.client.claimable()


async def test_who_is_sent_away_cannot_come_back(world: Any) -> None:
    await world.sio.disconnect(world.client.sid)
    await world.home.send(world.client.gone())
    await world.home.settle()
    assert world.app.heard == ["connect", "server disconnect"]
    assert not await world.client.claimable()


async def test_who_is_sent_away_while_it_is_away_cannot_come_back(world: Any) -> None:
    await world.client.lose()
    await world.sio.disconnect(world.client.sid)
    assert not await world.client.claimable()
    await world.home.wait(1, Disconnect)


async def test_two_claims_before_the_first_is_handled(world: Any, stage: Any) -> None:
    """The first one's connect handler never runs, whichever fact comes first."""
    other = await stage.io_node("io2")
    await world.client.lose()
    first = await world.client.claim()
    second = await world.client.claim(other)
    await other.send(second)
    await world.client.let_in()
    await world.home.send(first, world.client.gone(generation=1))
    await world.home.settle()
    assert world.app.heard == AGAIN
    assert world.counters.outcomes[STALE_CONNECT] == world.counters.outcomes[STALE_DISCONNECT] == 1
    assert Accept(world.client.sid, 1) not in world.home.commands


async def test_the_former_connection_moves_to_another_transport_too_late(world: Any, stage: Any) -> None:
    """It was half open. What is said of it says nothing of the new one."""
    other = await stage.io_node("io2")
    connected = replace(await world.client.claim(other), transport="polling")
    await other.send(connected)
    await world.client.let_in()
    await world.home.send(ClientUpgraded(world.client.sid, "websocket"))
    await world.home.settle()
    assert world.sio.transport(world.client.sid) == "polling"
    assert world.counters.outcomes[STALE_UPGRADE] == 1
    await other.send(ClientUpgraded(world.client.sid, "websocket", 1))
    await other.settle()
    assert world.sio.transport(world.client.sid) == "websocket"


async def test_two_claims_in_order(world: Any) -> None:
    await world.client.lose()
    first = await world.client.claim()
    second = await world.client.claim()
    await world.home.send(first, second)
    await world.client.let_in()
    await world.home.settle()
    assert world.app.heard == AGAIN


async def test_a_claim_whose_connect_never_comes(world: Any, stage: Any) -> None:
    """Its io-node lost it before it could say so. The former connection ends, too, and the client may come back."""
    other = await stage.io_node("io2")
    await world.client.claim(other)
    await other.send(world.client.gone("transport error"))
    [evict] = await world.home.wait(1, Evict)
    assert (evict.sid, evict.generation) == (world.client.sid, 0)
    await world.home.send(world.client.gone(generation=0))
    await world.home.settle()
    assert world.app.heard == ["connect", "transport error"]
    await world.client.come_back()
    assert world.app.heard == ["connect", "transport error", "connect recovered"]


async def test_a_claim_of_one_who_is_away_whose_connect_never_comes(world: Any) -> None:
    await world.client.lose()
    await world.client.claim()
    await world.client.lose()
    assert world.app.heard == ["connect", "transport close"]
    await world.client.come_back()
    await world.home.settle()
    assert world.app.heard == AGAIN


async def test_an_end_that_is_said_again_does_not_end_the_session(world: Any) -> None:
    """Its io-node says so of a client that it did not find any more when it was told to let it in."""
    await world.client.lose()
    await world.home.send(ClientDisconnected(world.client.sid, "transport close"))
    await world.home.settle()
    await world.client.come_back()
    assert world.app.heard == AGAIN


async def test_two_ends_at_once(world: Any) -> None:
    """The second is that of a claim whose connect never comes. The client is away, and not there for ever."""
    first = world.client.gone()
    await world.client.claim()
    await world.home.send(first, world.client.gone("ping timeout"))
    await world.home.settle()
    assert world.app.heard == ["connect", "transport close"]
    record = await world.home.bus.records.load(world.client.sid)
    assert record.away
    assert record.let_in is None
    assert world.sio.node.clients.known.get(world.client.sid) is None


async def test_what_was_said_before_may_be_said_again(world: Any) -> None:
    """A Redis that failed over may have entries again that were done."""
    claimed = await world.client.claim()
    await world.home.send(claimed, claimed)
    await world.client.let_in()
    await world.home.send(world.home.connected(sid=world.client.sid), claimed)
    await world.home.settle()
    assert world.app.heard == AGAIN
    assert world.counters.outcomes[STALE_CONNECT] == 1
    await world.home.send(world.client.gone(), claimed)
    await world.home.settle()
    assert world.app.heard == [*AGAIN, "transport close"]
    assert world.counters.outcomes[STALE_CONNECT] == 2


async def test_a_claim_waits_until_the_application_has_sent_the_client_away(
    stage: Any, application: Any, returning: Any
) -> None:
    """Its disconnect handler runs in another task then, and is slow."""
    app = application()
    home = await stage.io_node()
    client = returning(home)
    going = asyncio.Event()

    @app.sio.event
    async def disconnect(sid: str, reason: str) -> None:
        await going.wait()
        app.heard.append(reason)

    await app.sio.start()
    await client.come()
    task = app.sio.start_background_task(app.sio.disconnect, client.sid)
    await home.wait(1, Disconnect)
    await home.send(await client.claim())
    await stage.until(lambda: app.sio.node.uplink.consumer.facts_in_work == 1)
    going.set()
    await task
    await client.let_in()
    assert app.heard == ["connect", "server disconnect", "connect recovered"]


async def test_few_that_come_back_at_once_go_on_in_one_turn_of_the_event_loop(
    stage: Any, application: Any, returning: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis answers all of them at once."""
    app, home = application(), await stage.io_node("io1")
    await app.sio.start()
    clients = [returning(home) for _ in range(3 * lifecycle._READS)]
    for client in clients:
        await client.come()
    facts = [await client.claim() for client in clients]
    records = app.sio.node.clients.records
    load, answer = records.load, asyncio.Event()
    asked = 0

    async def slow(sid: str) -> Any:
        nonlocal asked
        asked += 1
        await answer.wait()
        return await load(sid)

    monkeypatch.setattr(records, "load", slow)
    await home.send(*facts)
    await home.until(lambda: asked > 0)
    for _ in range(100):
        await asyncio.sleep(0)
    assert asked == lifecycle._READS
    answer.set()
    for client in clients:
        await client.let_in()
    assert app.heard.count("connect recovered") == len(clients)
