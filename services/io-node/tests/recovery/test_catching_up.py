"""A client that missed much gets it in portions, as it takes them. What comes meanwhile waits in the log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from io_node.socketio.catching_up import MOST, MOST_BYTES
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import (
    Ack,
    AckReceived,
    AckRequest,
    ClientDisconnected,
    CloseRoom,
    Command,
    Disconnect,
    Emit,
    Evict,
    Join,
    Leave,
    Refuse,
)

from ..tiny_app import PATIENCE_S, kinds
from .cluster import Browser, Cluster, Node, cluster, emit, until

NAMES = [f"m{number}" for number in range(5 * MOST)]


async def most_a_turn(sent: Callable[[], int], done: Callable[[], bool]) -> int:
    """The most messages that were sent in one turn of the event loop, until it is done."""
    most, before = 0, sent()
    while not done():
        await asyncio.sleep(0)
        now = sent()
        most, before = max(most, now - before), now
    return most


async def missed(world: Cluster, node: Node, names: list[str], count: int = 1, **fields: Any) -> list[Browser]:
    """Clients that are away, and have missed these events."""
    browsers = [await world.browser(node, **fields) for _ in range(count)]
    await world.say(emit("first"))
    for browser in browsers:
        await browser.got("first")
        browser.drop()
    for browser in browsers:
        await world.away(browser)
    for start in range(0, len(names), 1_000):
        await world.say(*(emit(name) for name in names[start : start + 1_000]))
    await world.settled()
    return browsers


@asynccontextmanager
async def in_the_midst(*rooms: str, nodes: int = 1) -> AsyncIterator[tuple[Cluster, Browser]]:
    """A client that missed `NAMES`, and has taken the first portion of it. It is in these rooms."""
    async with cluster(nodes) as world:
        home, node = world.nodes[0], world.nodes[-1]
        world.app.on_connect = lambda fact: [Join(fact.sid, room) for room in rooms if not fact.generation]
        [browser] = await missed(world, home, NAMES, takes=False)
        browser.open(node)
        await browser.joined()
        assert browser.recovered
        assert [event[0] for event in browser.look().events] == ["first", *NAMES[:MOST]]
        yield world, browser


async def take_rest(browser: Browser, *names: str, more: int = 0) -> None:
    """The client takes portion by portion: what it missed, and then events with these names."""
    expected = ["first", *NAMES, *names]
    async with asyncio.timeout(PATIENCE_S):
        while len(browser.look().events) < len(expected) + more:
            before = len(browser.events)
            browser.connection.take_all()
            await asyncio.sleep(0)
            assert len(browser.look().events) - before <= MOST + len(names)
    assert [event[0] for event in browser.events] == expected


async def carried_out(world: Cluster, *commands: Command) -> None:
    await world.say(*commands)
    await world.settled()
    await asyncio.sleep(0.01)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_much_is_sent_in_many_turns() -> None:
    async with cluster(2) as world:
        [browser] = await missed(world, world.nodes[0], [f"{number}" + "x" * 1_000 for number in range(15_000)])
        browser.open(world.nodes[1])
        connection = browser.connection
        most = await most_a_turn(lambda: len(connection.sent), lambda: len(connection.sent) == 15_001)
        assert most <= MOST_BYTES // 1_000 + 2  # with CONNECT
        assert browser.look().recovered
        assert [event[0][:5].rstrip("x") for event in browser.events[1:]] == [str(n) for n in range(15_000)]
        assert world.nodes[1].counters.replayed == 15_000


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("clients", [100, pytest.param(500, marks=pytest.mark.ci_only)])
async def test_many_clients_at_once(clients: int) -> None:
    async with cluster(2) as world:
        names = [f"m{number}" for number in range(1_000)]
        browsers = await missed(world, world.nodes[0], names, clients)
        for browser in browsers:
            browser.open(world.nodes[1])

        def sent() -> int:
            return sum(len(browser.connection.sent) for browser in browsers)

        most = await most_a_turn(sent, lambda: sent() == clients * 1_001)
        assert most <= 64 * MOST  # what `Turns` and the downlink do at most
        for browser in browsers:
            assert browser.look().recovered
            assert [event[0] for event in browser.events] == ["first", *names]
        loaded = world.nodes[1].io_node._recovery.homes._homes[world.nodes[0].id].logs[0]
        await until(lambda: not loaded.pins)


async def test_a_few_events_come_with_the_accept() -> None:
    async with cluster(1) as world:
        [browser] = await missed(world, world.nodes[0], ["one", "two"], takes=False)
        browser.open(world.nodes[0])
        await browser.joined()
        assert [event[0] for event in browser.events] == ["first", "one", "two"]
        await world.say(emit("three"))
        await browser.got("first", "one", "two", "three")
        assert browser.connection.when_taken_calls == []


@pytest.mark.parametrize("nodes", [1, 2])
async def test_what_comes_meanwhile_follows_in_order(nodes: int) -> None:
    """Events, volatile ones, questions, and answers: to the client, its rooms and everybody."""
    async with in_the_midst("red", nodes=nodes) as (world, browser):
        sid = browser.sid
        await carried_out(
            world,
            emit("to all"),
            Emit("/", b'27["asks"]', to=[sid], ack=AckRequest("app1-bbbbbb", 7)),
            emit("to red", ["red"]),
            emit("volatile", volatile=True),
            Ack(sid, b"31[]"),
            emit("last", [sid]),
        )
        assert len(browser.look().events) == 1 + MOST
        assert browser.answers == []
        await take_rest(browser, "to all", "asks", "to red", "last")
        assert browser.answers == [b"1[]"]
        assert browser.raw[-2:][0] == b"31[]"
        assert browser.events[-3] == ["asks", "ack 7"]
        assert browser.connection.kept_bytes == 0
        await world.say(emit("live", ["red"]))
        await browser.got("first", *NAMES, "to all", "asks", "to red", "last", "live")
        assert browser.connection.session is not None
        browser.connection.session.on_message('37["yes"]')
        await world.app.wait_for(lambda facts: bool(kinds(facts, AckReceived)))
        counters = world.nodes[-1].counters
        assert (counters.replayed, counters.held_dropped) == (len(NAMES), 1)


@pytest.mark.parametrize("nodes", [1, 2])
async def test_a_client_in_very_many_rooms(nodes: int) -> None:
    """What it missed is looked for in some of them at a time, and meanwhile more is said."""
    rooms = [f"room{number}" for number in range(2_000)]
    async with cluster(nodes) as world:
        home, node = world.nodes[0], world.nodes[-1]
        world.app.on_connect = lambda fact: [Join(fact.sid, room) for room in rooms if not fact.generation]
        [browser] = await missed(world, home, [])
        await world.say(*(emit(f"m{number}", [rooms[number]]) for number in range(0, 2_000, 10)))
        await world.settled()
        browser.open(node)
        await browser.joined()
        names = [f"live{number}" for number in range(50)]
        for name in names:
            await world.say(emit(name, ["room7"]))
        await browser.got("first", *(f"m{number}" for number in range(0, 2_000, 10)), *names)
        assert browser.recovered
        await until(lambda: node.io_node._recovery.homes.clients() == 1)
        assert [client.catching_up for hub in node.io_node._recovery.homes.hubs() for client in hub.clients()] == [None]


async def test_it_falls_behind_again_and_again() -> None:
    """What comes is as much as it takes."""
    async with in_the_midst() as (world, browser):
        more = []
        for number in range(5):
            names = [f"more{number}.{index}" for index in range(MOST // 2)]
            more += names
            await carried_out(world, *(emit(name) for name in names))
            browser.connection.take_all()
        await take_rest(browser, *more)
        assert browser.connection.when_taken_calls == []


async def test_rooms_change_meanwhile() -> None:
    async with in_the_midst("red", "green") as (world, browser):
        sid = browser.sid
        await carried_out(
            world,
            emit("red 1", ["red"]),
            Leave(sid, "red"),
            emit("red 2", ["red"]),
            Join(sid, "blue", True),
            emit("blue 1", ["blue"]),
            emit("green 1", ["green"]),
            CloseRoom("/", "green"),
            emit("green 2", ["green"]),
        )
        await take_rest(browser, "red 1", "blue 1", "green 1")
        await world.say(emit("green 3", ["green"]), emit("red 3", ["red"]), emit("blue 2", ["blue"]))
        await browser.got("first", *NAMES, "red 1", "blue 1", "green 1", "blue 2")
        assert world.nodes[0].counters.rooms_changed >= 2


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_it_closes_in_the_midst_and_comes_back(elsewhere: bool) -> None:
    """Nothing comes twice, and nothing is missing."""
    async with in_the_midst(nodes=2) as (world, browser):
        await carried_out(world, emit("meanwhile"), Emit("/", b'27["asks"]', ack=AckRequest("app1-bbbbbb", 7)))
        browser.connection.take_all()
        await until(lambda: len(browser.look().events) >= 1 + 2 * MOST)
        assert len(browser.look().events) == 1 + 2 * MOST
        browser.drop(reasons.SLOW_CONSUMER)
        former = browser.connection
        await world.away(browser)
        assert world.disconnected.keep_ms > 0
        assert world.nodes[-1].counters.held_dropped == 1
        assert former.kept_bytes == 0
        browser.open(world.nodes[0 if elsewhere else 1])
        await browser.joined()
        assert browser.recovered
        await take_rest(browser, "meanwhile")


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("refused", [False, True])
async def test_the_application_ends_it_in_the_midst(close: bool, refused: bool) -> None:
    """It gets what was said before, and then DISCONNECT. Nothing that it says counts any more."""
    async with in_the_midst() as (world, browser):
        sid, connection = browser.sid, browser.connection
        ends = Refuse(sid, b"{}", 1) if refused else Disconnect(sid, close)
        await carried_out(world, emit("you are out", [sid]), ends, emit("too late"))
        await world.gone(browser)
        assert (world.disconnected.reason, world.disconnected.keep_ms) == (reasons.SERVER_DISCONNECT, 0)
        assert sid not in world.nodes[0].io_node.hub
        assert connection.session is not None
        connection.session.on_message('2["late"]')
        assert connection.closed is None
        await take_rest(browser, "you are out")
        await until(lambda: browser.look().disconnected)
        assert (connection.closed is not None) is (close and not refused)
        await carried_out(world, emit("later"))
        assert browser.look().events[-1] == ["you are out"]


@pytest.mark.parametrize("close", [False, True])
async def test_it_was_sent_away_and_does_not_take_the_rest(close: bool) -> None:
    async with in_the_midst() as (world, browser):
        await carried_out(world, Disconnect(browser.sid, close))
        browser.drop()
        [loaded] = world.nodes[0].io_node._recovery.homes._own.logs
        assert not loaded.pins
        assert len(kinds(world.app.facts, ClientDisconnected)) == 2


async def test_it_leaves_in_the_midst() -> None:
    async with in_the_midst() as (world, browser):
        assert browser.connection.session is not None
        browser.connection.session.on_message("1")
        browser.connection.take_all()
        await world.gone(browser)
        assert len(browser.look().events) == 1 + MOST
        browser.recovered = None
        browser.send_connect()
        await browser.joined()
        assert not browser.recovered
        await world.say(emit("new"))
        await browser.got("first", *NAMES[:MOST], "new")


async def test_it_comes_back_on_another_connection_in_the_midst() -> None:
    async with in_the_midst(nodes=2) as (world, browser):
        former = browser.connection
        browser.open(world.nodes[0])
        await browser.joined()
        await until(lambda: former.closed == reasons.TRANSPORT_CLOSE)
        former.take_all()
        await carried_out(world, Evict(browser.sid, 1), emit("new"))
        await take_rest(browser, "new")


async def test_the_log_grows_too_long_meanwhile() -> None:
    """A client that takes less than comes is closed, and may come back."""
    async with cluster(1, RECOVERY_MAX_BYTES=10_000) as world:
        [node] = world.nodes
        [browser] = await missed(world, node, NAMES[: 2 * MOST], takes=False)
        browser.open(node)
        await browser.joined()
        await carried_out(world, *(emit("x" * 10_000) for _ in range(30)))
        await node.io_node._recovery.homes.tidy()
        assert browser.connection.closed == reasons.SLOW_CONSUMER
        assert browser.connection.overflowed == "home_log_full"
