"""How long homes are read and kept, and what becomes of the node's own when it leaves."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from io_node.recovery.home_log import Since
from sio_cluster.protocol import reasons
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.messages import Accept, ClientDisconnected, CloseRoom, Join, Leave
from sio_cluster.protocol.recovery import START, Position
from sio_cluster.streams.api.homes import AtHorizon

from ..socketio.fakes import FakeConnection
from ..tiny_app import kinds
from .cluster import Browser, Cluster, Node, cluster, emit, until


def homes_of(node: Node) -> Any:
    return node.io_node._recovery.homes


async def come_back(world: Cluster, browser: Browser, node: Node) -> None:
    browser.drop()
    await world.away(browser)
    browser.open(node)
    await browser.joined()
    assert browser.recovered


async def test_a_log_that_nobody_needs_goes() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await come_back(world, browser, other)
        homes = homes_of(other)
        adopted = homes._homes[home.id]
        (own_before, before) = homes.logs_in_memory
        assert before.log_bytes == adopted.logs[0].log.size > 0
        await world.say(emit("zero"))
        await browser.got("zero")
        own, now = homes.logs_in_memory
        assert own == own_before == (0, 0)
        assert now.log_entries == before.log_entries + 1
        homes._clock = lambda: adopted.used_at + 61
        await homes.tidy()
        assert adopted.logs == []
        await world.say(emit("one"))
        await browser.got("zero", "one")
        browser.drop()
        await world.away(browser)
        await homes.tidy()
        assert homes.adopted == 0
        assert adopted.tail.done()
        homes._clock = lambda: adopted.used_at
        browser.open(other)
        await browser.joined()
        assert browser.recovered


async def test_a_log_is_loaded_anew_for_who_comes_much_later() -> None:
    """It grows while it is in use, so it must not be used for ever."""
    async with cluster(1, RECOVERY_WINDOW_MS=10_000) as world:
        [node] = world.nodes
        first, second = await world.browser(node), await world.browser(node)
        await come_back(world, first, node)
        homes = homes_of(node)
        [loaded] = homes._own.logs
        second.drop()
        await world.say(emit("one"))
        homes._clock = lambda: loaded.loaded_at + 11
        await come_back(world, second, node)
        await second.got("one")
        assert homes._own.logs[-1] is not loaded
        await homes.tidy()
        assert loaded not in homes._own.logs
        assert len(homes._own.logs) == 1


async def test_who_waits_too_long_while_much_is_said() -> None:
    async with cluster(1, RECOVERY_MAX_BYTES=10_000) as world:
        [node] = world.nodes
        browser, quiet = await world.browser(node), await world.browser(node)
        browser.drop()
        await world.away(browser)
        world.app.accepting = False
        browser.open(node)
        await world.app.wait_for(lambda _: ("connect", 1) in world.facts(browser.sid))
        await world.say(emit("x" * 250_000))
        await quiet.got("x" * 250_000)
        await homes_of(node).tidy()
        assert browser.connection.closed == reasons.SLOW_CONSUMER
        assert browser.connection.overflowed == "home_log_full"
        assert quiet.connection.closed is None


async def test_a_long_log_stays_that_was_loaded_a_moment_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever it was loaded for has not got it yet. Else it would not hear what is said from then on, for good."""
    async with cluster(1, RECOVERY_MAX_BYTES=100_000) as world:
        [node] = world.nodes
        homes, browser = homes_of(node), await world.browser(node)
        load = homes._load

        async def load_and_look(name: str) -> Any:
            loaded = await load(name)
            await homes.tidy()
            return loaded

        monkeypatch.setattr(homes, "_load", load_and_look)
        browser.drop()
        await world.away(browser)
        missed = [f"{number}" + "x" * 10_000 for number in range(5)]
        for name in missed:
            await world.say(emit(name))
        world.app.accepting = False
        browser.open(node)
        await world.app.wait_for(lambda _: ("connect", 1) in world.facts(browser.sid))
        await world.say(emit("meanwhile"))
        await world.say(Accept(browser.sid, 1))
        await browser.got(*missed, "meanwhile")


async def test_a_log_that_nobody_needs_does_not_grow() -> None:
    """It goes when much was said since the last client came back, and is loaded anew for the next one."""
    async with cluster(1, RECOVERY_MAX_BYTES=100_000) as world:
        [node] = world.nodes
        homes, browser = homes_of(node), await world.browser(node)
        await come_back(world, browser, node)
        for number in range(3):
            await world.say(emit(f"{number}" + "x" * 10_000))
            await until(lambda count=number + 1: len(browser.look().events) == count)  # type: ignore[misc]
            await homes.tidy()
            assert len(homes._own.logs) == (1 if number < 2 else 0)
        await come_back(world, browser, node)
        assert homes._own.logs[0].log.size > 30_000


async def test_a_log_that_is_in_use_all_the_time_does_not_grow_for_ever() -> None:
    async with cluster(1, RECOVERY_MAX_BYTES=100_000) as world:
        [node] = world.nodes
        homes, browser = homes_of(node), await world.browser(node)
        for number in range(12):
            await come_back(world, browser, node)
            await world.say(emit(f"{number}" + "x" * 20_000))
            await until(lambda count=number + 1: len(browser.look().events) == count)  # type: ignore[misc]
            await homes.tidy()
        assert 20_000 < homes.logs_in_memory[0].log_bytes < 200_000


async def test_a_log_of_very_many_small_things_is_cut_when_it_is_loaded() -> None:
    """In memory they take much more than in Redis. Who missed one of the oldest begins anew, and nobody else."""
    async with cluster(1, RECOVERY_MAX_BYTES=150_000) as world:
        [node] = world.nodes
        early, late, quiet = [await world.browser(node) for _ in range(3)]
        await world.say(Join(early.sid, "red"), Join(late.sid, "blue"), Join(quiet.sid, "green"))
        await world.settled()
        for browser in (early, quiet):
            browser.drop()
            await world.away(browser)
        for _ in range(20):
            await world.say(*(emit("x", ["red"]) for _ in range(100)))
        await world.say(Leave(late.sid, "blue"), Join(late.sid, "gold"), emit("now", [late.sid]))
        await late.got("now")
        late.drop()
        await world.away(late)
        await world.say(emit("one", ["blue", "gold"]), emit("two", ["blue", "green"]))
        await world.settled()
        for browser in (early, late, quiet):
            browser.open(node)
            await browser.joined()
        assert (early.recovered, late.recovered, quiet.recovered) == (False, True, True)
        await late.got("now", "one")
        await quiet.got("two")
        assert node.io_node.hub._clients[late.sid].rooms == {"gold"}
        assert node.counters.claims_refused == {"window": 1}
        assert node.io_node._recovery.retention.kept_bytes < 150_000, "in Redis there was no need to forget any"


async def test_a_large_entry_is_taken_in_parts() -> None:
    """An app-node writes up to 2,000 commands in one entry. A log that is loaded in the midst of it has each once."""
    async with cluster(1) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        await come_back(world, browser, node)
        await world.settled()
        own, recovery = homes_of(node)._own, node.io_node._recovery
        node.io_node._loops._tasks["downlink"].cancel()
        [loaded] = own.logs
        await world.say(*(emit(f"{number}") for number in range(2_000)))
        [entry] = await world.bus.homes.page(node.id, own.place, 1)
        steps = recovery._took(entry, decode_downlink(entry.entry).commands)
        before, parts = loaded.log.size, []
        for step, _ in enumerate(steps):
            parts.append(loaded.log.size - before)
            before = loaded.log.size
            if step == 12:
                fresh = (await homes_of(node)._load(node.id)).log
        assert max(parts) < 260 * 200
        place = AtHorizon(b"0-0", frozenset())
        for log in (loaded.log, fresh):
            told = log.events(browser.sid, "/", place, Since(START, START), Position(2**40, 0, 0))
            assert len([event for event in told if event is not None]) == 2_000


async def test_a_node_that_is_drained_leaves_its_home_for_its_clients() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await world.drain(home)
        assert browser.connection.closed == reasons.NODE_DRAINED
        assert await world.bus.registry.parked_io_nodes() == [home.id]
        await world.say(emit("one"))
        browser.open(other)
        await browser.joined()
        await browser.got("one")
        assert browser.recovered


async def test_a_node_that_adopted_is_drained() -> None:
    async with cluster(3) as world:
        browser = await world.browser(world.nodes[0])
        await come_back(world, browser, world.nodes[1])
        await world.drain(world.nodes[1])
        assert browser.connection.closed == reasons.NODE_DRAINED
        assert await world.bus.registry.parked_io_nodes() == []
        await world.say(emit("one"))
        browser.open(world.nodes[2])
        await browser.joined()
        await browser.got("one")
        assert browser.recovered


async def test_a_node_without_such_clients_is_gone_at_once() -> None:
    async with cluster(1) as world:
        await world.drain(world.nodes[0])
        assert await world.bus.registry.registered_io_nodes() == []


@pytest.mark.parametrize("is_here", [True, False])
async def test_a_home_that_is_lost_is_no_warning_where_it_concerns_no_client(is_here: bool) -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        await world.away(browser)
        browser.open(other)
        await browser.joined()
        assert browser.recovered
        if not is_here:
            browser.drop()
            await world.away(browser)
        await world.kill(home)
        with capture_logs() as logs:
            await world.bus.registry.unregister_io_node(home.id)
            await until(lambda: any(entry["event"] == "home_lost" for entry in logs))
        [lost] = [entry for entry in logs if entry["event"] == "home_lost"]
        assert (lost["log_level"], lost["clients"]) == (("warning", 1) if is_here else ("info", 0))


async def _ends_slowly() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_home_that_is_lost_while_another_one_is_closed() -> None:
    """Looking at homes goes on: what was cancelled there is not this node's own end."""
    async with cluster(3) as world:
        *homes, last = world.nodes
        browsers = [await world.browser(home) for home in homes]
        for browser in browsers:
            await come_back(world, browser, last)
        browsers[0].drop()
        await world.away(browsers[0])
        its = homes_of(last)
        unused, lost = (its._homes[home.id] for home in homes)
        its._clock = lambda: unused.used_at + 61
        unused.tail.cancel()
        unused.tail = asyncio.create_task(_ends_slowly())
        await asyncio.sleep(0)
        looking = asyncio.create_task(its.tidy())
        await asyncio.sleep(0)
        await its.drop_adopted()
        await looking
        assert lost.tail.cancelled()
        assert its.adopted == 0


async def test_redis_lost_its_data() -> None:
    """Clients of this home stay, and begin anew when they come back. Those of others begin anew at once."""
    async with cluster(2) as world:
        home, other = world.nodes
        browser, adopted = await world.browser(home), await world.browser(home)
        await come_back(world, adopted, other)
        world.broker.lose_data()
        world.broker.clients.clear()
        await until(lambda: adopted.connection.closed == reasons.TRANSPORT_ERROR)
        await until(lambda: browser.sid in world.broker.clients)
        assert browser.connection.closed is None
        browser.drop()
        await until(lambda: browser.sid not in world.broker.clients)
        browser.open(home)
        await browser.joined()
        assert not browser.recovered


async def test_rooms_at_the_horizon_of_clients_that_are_elsewhere() -> None:
    """What the log forgets of their rooms is kept, also where a room was closed."""
    async with cluster(2, RECOVERY_MAX_BYTES=3_000) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        sid = browser.sid
        await world.say(Join(sid, "red"), Join(sid, "blue"), Join(sid, "green"))
        await world.settled()
        await come_back(world, browser, other)
        await world.say(CloseRoom("/", "red"), Leave(sid, "blue"), Join(sid, "gold"), emit("one"))
        await browser.got("one")
        browser.drop()
        await world.away(browser)
        for _ in range(3):
            home.later()
            await world.say(emit("x" * 2_000, ["nobody"]))
            await world.settled()
        await home.io_node._recovery.retention.forget_due()
        at = await world.bus.homes.rooms(home.id, sid, None)
        assert at is not None
        assert at.rooms == {sid, "green", "gold"}


@pytest.mark.parametrize("late", [False, True])
async def test_an_accept_that_comes_too_late(late: bool) -> None:
    """Of a client that may come back, it must not end that. Of one that came back elsewhere, it says nothing."""
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        await world.away(browser)
        if late:
            browser.open(other)
            await browser.joined()
        await world.app.send(browser.sid, Accept(browser.sid))
        await until(lambda: home.counters.phantoms == 1)
        await world.app.wait_for(lambda facts: len(kinds(facts, ClientDisconnected)) == 2)
        assert world.disconnected.generation == 0
        assert world.disconnected.keep_ms > 0
        if not late:
            browser.open(other)
            await browser.joined()
            assert browser.recovered
        assert browser.connection.closed is None


async def test_what_was_not_carried_out_yet_is_taken_when_it_is() -> None:
    """The log is loaded up to where the reader is, though there is more behind. So each entry stands in it once."""
    async with cluster(1) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        await world.settled()
        own = homes_of(node)._own
        place = own.place
        await world.say(emit("one"))
        await browser.got("one")
        node.io_node._loops._tasks["downlink"].cancel()
        own.place = place  # as if the reader was behind
        pinned = await homes_of(node).pin(node.id, FakeConnection())
        size = pinned.log.size
        [entry] = await world.bus.homes.page(node.id, place, 1)
        list(own.took(entry, decode_downlink(entry.entry).commands))
        assert pinned.log.size > size
        since = Since(START, START)
        told = pinned.log.events(browser.sid, "/", AtHorizon(b"0-0", frozenset()), since, Position(2**40, 0, 0))
        assert [event.packet for event in told if event is not None] == [emit("one").packet]
