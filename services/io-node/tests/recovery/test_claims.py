"""Whose claim is refused becomes a new client. Who closes meanwhile, or comes back twice, is told of exactly once."""

import asyncio
import json
from typing import Any

import pytest

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Canary, ClientDisconnected, Disconnect, Join
from sio_cluster.protocol.recovery import Position, encode_offset

from ..tiny_app import kinds
from .cluster import PYTHON, Browser, Cluster, cluster, emit, until


def flipped(pid: str) -> str:
    return pid[:-1] + ("A" if pid[-1] != "A" else "B")


def with_future(browser: Browser) -> None:
    browser.offset = encode_offset(Position(99_999, 0, 0)).decode()


WRONG = {
    "text of 10 MB": (lambda b: setattr(b, "pid", "x" * 10_000_000), "malformed"),
    "number": (lambda b: setattr(b, "pid", 7), "malformed"),
    "object": (lambda b: setattr(b, "pid", {"a": 1}), "malformed"),
    "null in text": (lambda b: setattr(b, "pid", "\0"), "malformed"),
    "the sid, which others know": (lambda b: setattr(b, "pid", b.sid), "malformed"),
    "truncated": (lambda b: setattr(b, "pid", b.pid[:-1]), "malformed"),
    "flipped": (lambda b: setattr(b, "pid", flipped(b.pid)), "wrong"),
    "another secret": (lambda b: setattr(b, "pid", f"{b.sid}~{'A' * 22}"), "wrong"),
    "nobody": (lambda b: setattr(b, "pid", "io9-aaaaaa.aaaaaaaaaaaaaaaa~" + "A" * 22), "gone"),
    "offset of the future": (with_future, "future"),
    "offset of another server": (lambda b: setattr(b, "offset", "1690000000000-0"), "malformed"),
    "offset that is a list": (lambda b: setattr(b, "offset", [1]), "malformed"),
}


@pytest.mark.parametrize("kind", WRONG)
async def test_a_wrong_claim(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    change, reason = WRONG[kind]
    async with cluster(2, MAX_PAYLOAD_BYTES=20_000_000) as world:
        browser = await world.browser(world.nodes[0])
        sid, secret = browser.sid, browser.pid.partition("~")[2]
        await world.say(emit("one"))
        await browser.got("one")
        browser.drop()
        await world.away(browser)
        change(browser)
        browser.open(world.nodes[1], {"token": 1})
        await browser.joined()
        assert not browser.recovered
        assert browser.sid != sid
        assert world.nodes[1].counters.claims_refused == {reason: 1}
        assert world.connected.generation == 0
        assert set(json.loads(world.connected.auth or b"")) == {
            "token",
            *({"pid", "offset"} if kind in ("number", "object") else ()),
        }
        await world.say(emit("two"))
        await browser.got("one", "two")
    assert secret not in capsys.readouterr().out


async def test_of_another_namespace() -> None:
    async with cluster(1) as world:
        browser = await world.browser(world.nodes[0])
        browser.drop()
        await world.away(browser)
        browser.namespace = "/other"
        browser.open(world.nodes[0])
        await browser.joined()
        assert not browser.recovered
        assert world.nodes[0].counters.claims_refused == {"wrong": 1}


async def test_after_the_window() -> None:
    async with cluster(1, RECOVERY_WINDOW_MS=1_000) as world:
        browser = await world.browser(world.nodes[0])
        browser.drop()
        await world.away(browser)
        world.broker.clients[browser.sid].away_until = 0.0
        browser.open(world.nodes[0])
        await browser.joined()
        assert not browser.recovered
        assert world.nodes[0].counters.claims_refused == {"gone": 1}


@pytest.mark.parametrize("with_event", [True, False])
async def test_before_the_horizon(with_event: bool) -> None:
    async with cluster(1, RECOVERY_MAX_BYTES=1_000) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        if with_event:
            await world.say(emit("one"))
            await browser.got("one")
        browser.drop()
        await world.away(browser)
        for _ in range(3):
            await world.say(emit("x" * 1_000))
            await asyncio.sleep(0.3)
        await node.io_node._recovery.retention.forget_due()
        browser.open(node)
        await browser.joined()
        assert not browser.recovered
        assert node.counters.claims_refused == {"window": 1}


async def test_who_left_on_purpose_does_not_come_back() -> None:
    async with cluster(1) as world:
        [node] = world.nodes
        left, sent_away = await world.browser(node), await world.browser(node)
        assert left.connection.session is not None
        left.connection.session.on_message("1")
        await world.say(Disconnect(sent_away.sid))
        await world.app.wait_for(lambda facts: len(kinds(facts, ClientDisconnected)) == 2)
        assert {fact.keep_ms for fact in kinds(world.app.facts, ClientDisconnected)} == {0}
        for browser in (left, sent_away):
            await world.gone(browser)
            browser.open(node)
            await browser.joined()
            assert not browser.recovered
        assert node.counters.claims_refused == {"gone": 2}


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_who_left_on_purpose_and_is_back_before_the_application_knows(elsewhere: bool) -> None:
    """`socket.disconnect().connect()`: the CONNECT with the pid follows the DISCONNECT at once."""
    async with cluster(2) as world:
        home, other = world.nodes
        world.app.forgetting = False
        browser = await world.browser(home)
        sid, session = browser.sid, browser.connection.session
        assert session is not None
        session.on_message("1")
        if elsewhere:
            await world.app.wait_for(lambda facts: isinstance(facts[-1], ClientDisconnected))
            browser.open(other)
        else:
            browser.recovered = None
            browser.send_connect()
        await browser.joined()
        assert not browser.recovered
        assert browser.sid != sid
        assert (other if elsewhere else home).counters.claims_refused["gone"] == 1


async def test_who_left_on_purpose_while_redis_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has not heard yet that nobody may claim the session. The node knows."""
    async with cluster(1) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        records = node.io_node._bus.records
        gate, renounce = asyncio.Event(), records.renounce

        async def slow(*args: Any) -> None:
            await gate.wait()
            await renounce(*args)

        monkeypatch.setattr(records, "renounce", slow)
        session = browser.connection.session
        assert session is not None
        session.on_message("1")
        browser.recovered = None
        browser.send_connect()
        await until(lambda: node.counters.claims_refused == {"gone": 1})
        gate.set()
        await browser.joined()
        assert not browser.recovered


async def test_the_former_connection_closes_before_the_application_answers() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        former = browser.connection
        world.app.accepting = False
        browser.open(other)
        await until(lambda: former.closed == reasons.TRANSPORT_CLOSE)
        assert home.counters.evicted == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_the_former_connection_is_half_open(elsewhere: bool) -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        await world.say(emit("one"))
        await browser.got("one")
        former = browser.connection
        browser.open(other if elsewhere else home)
        await browser.joined()
        assert browser.recovered
        await until(lambda: former.closed == reasons.TRANSPORT_CLOSE)
        sent = len(former.sent)
        await world.say(emit("two"))
        await browser.got("one", "two")
        assert len(former.sent) == sent
        await world.app.wait_for(lambda _: len(world.facts(browser.sid)) == 3)
        assert sorted(world.facts(browser.sid)) == [("connect", 0), ("connect", 1), ("disconnect", 0)]
        assert home.counters.evicted == 1


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_two_claims_whose_answers_come_the_other_way_round(
    monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    """Two connections show one pid at once. The older claim closes, and the newer one has the session."""
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        await world.away(browser)
        records = home.io_node._bus.records
        claim, first, gate = records.claim, asyncio.Event(), asyncio.Event()

        async def late(*args: Any) -> Any:
            is_first = not first.is_set()
            first.set()
            answer = await claim(*args)
            if is_first:
                await gate.wait()
            return answer

        monkeypatch.setattr(records, "claim", late)
        rival = Browser(sid=browser.sid, pid=browser.pid, offset=browser.offset)
        rival.open(home)
        await first.wait()
        browser.open(other if elsewhere else home)
        await browser.joined()
        assert browser.recovered
        gate.set()
        await until(lambda: rival.connection.closed == reasons.TRANSPORT_CLOSE)
        await home.io_node._recovery.claims.idle(5)
        await world.say(emit("one"))
        await browser.got("one")
        assert rival.look().recovered is None
        browser.drop()
        await world.away(browser)
        assert world.facts(browser.sid)[2:] == [("connect", 2), ("disconnect", 2)]


async def test_refused_by_the_application() -> None:
    async with cluster(2) as world:
        browser = await world.browser(world.nodes[0])
        browser.drop()
        world.app.refusing = {1}
        browser.open(world.nodes[1])
        await browser.joined()
        assert browser.refused
        await until(lambda: browser.sid not in world.broker.clients)
        assert len(world.nodes[1].io_node._recovery.homes._homes[world.nodes[0].id].hub) == 0
        world.app.refusing = set()
        assert browser.connection.session is not None
        browser.recovered = None
        browser.send_connect()
        await browser.joined()
        assert not browser.recovered
        assert world.nodes[1].counters.claims_refused == {"gone": 1}


class Stops:
    """Redis answers each call of a claim only when it is told to."""

    def __init__(self, world: Cluster, node: Any) -> None:
        bus = node.io_node._bus
        self.reached: list[str] = []
        self.gate = asyncio.Event()
        self._stop_at = ""
        for part, name in ((bus.records, "load"), (bus.homes, "horizon"), (bus.homes, "rooms"), (bus.records, "claim")):
            self._wrap(part, name)

    def stop_at(self, name: str, *, before: bool) -> None:
        self._stop_at, self._before = name, before

    def _wrap(self, part: Any, name: str) -> None:
        call = getattr(part, name)

        async def stopping(*args: Any) -> Any:
            if name == self._stop_at and self._before:
                self.reached.append(name)
                await self.gate.wait()
            result = await call(*args)
            if name == self._stop_at and not self._before:
                self.reached.append(name)
                await self.gate.wait()
            return result

        setattr(part, name, stopping)


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("step", ["load", "horizon", "rooms", "claim"])
async def test_it_closes_in_the_midst(step: str, before: bool) -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        await world.away(browser)
        await world.say(emit("one"))
        stops = Stops(world, other)
        stops.stop_at(step, before=before)
        browser.open(other)
        await until(lambda: stops.reached == [step])
        browser.drop()
        stops.gate.set()
        await other.io_node._recovery.claims.idle(5)
        await world.away(browser)
        assert other.counters.claims_left == 1
        browser.open(home)
        await browser.joined()
        await browser.got("one")
        assert browser.recovered
        connects = [fact for fact in world.facts(browser.sid) if fact[0] == "connect"]
        assert len(connects) == 2
        adopted = other.io_node._recovery.homes._homes.get(home.id)
        assert adopted is None or not any(loaded.pins for loaded in adopted.logs)


async def test_it_closes_before_it_is_accepted() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        await world.away(browser)
        world.app.accepting = False
        browser.open(other)
        await world.app.wait_for(lambda _: ("connect", 1) in world.facts(browser.sid))
        await world.say(emit("one", [browser.sid]))
        browser.drop()
        await world.away(browser)
        world.app.accepting = True
        browser.open(other)
        await browser.joined()
        await browser.got("one")
        assert browser.recovered
        assert world.facts(browser.sid)[2:] == [("connect", 1), ("disconnect", 1), ("connect", 2)]


async def test_the_home_is_lost() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        browser.drop()
        browser.open(other)
        await browser.joined()
        await world.kill(home)
        world.broker.streams.pop(world.bus.keys.inbox(home.id))
        world.broker.notify()
        await until(lambda: browser.connection.closed == reasons.TRANSPORT_ERROR)
        assert other.io_node._recovery.homes.adopted == 0
        browser.open(other)
        await browser.joined()
        assert not browser.recovered


async def test_while_redis_is_away() -> None:
    async with cluster(2) as world:
        browser = await world.browser(world.nodes[0])
        browser.drop()
        await world.away(browser)
        world.broker.go_down()
        browser.open(world.nodes[1])
        await until(lambda: world.nodes[1].io_node.bus_counters.redis_retries["claims"] > 0)
        world.broker.come_back()
        await browser.joined()
        assert browser.recovered


async def test_the_answer_to_a_claim_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second try gets a generation of its own."""
    async with cluster(1) as world:
        browser = await world.browser(world.nodes[0])
        browser.drop()
        await world.away(browser)
        records = world.nodes[0].io_node._bus.records
        claim = records.claim

        async def losing(*args: Any) -> Any:
            world.broker.lose_replies(1)
            monkeypatch.undo()
            return await claim(*args)

        monkeypatch.setattr(records, "claim", losing)
        browser.open(world.nodes[0])
        await browser.joined()
        assert browser.recovered
        assert world.facts(browser.sid)[-1] == ("connect", 2)


@pytest.mark.slow
async def test_a_burst_loads_the_log_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browsers = [await world.browser(home) for _ in range(2_000)]
        await world.say(emit("one"))
        for browser in browsers:
            await browser.got("one")
        await world.kill(home)
        await world.say(emit("two"))
        loads = 0
        logs = other.io_node._bus.homes
        horizon = logs.horizon

        async def counting(*args: Any) -> Any:
            nonlocal loads
            loads += 1
            return await horizon(*args)

        monkeypatch.setattr(logs, "horizon", counting)
        for browser in browsers:
            browser.open(other)
        for browser in browsers:
            await browser.joined()
            await browser.got("one", "two")
            assert browser.recovered
        assert loads == 1
        assert other.io_node._recovery.homes.adopted == 1


async def test_switched_off() -> None:
    async with cluster(1, RECOVERY_WINDOW_MS=0) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        assert browser.pid is None
        await world.say(emit("one"))
        await until(lambda: len(browser.look().events) == 1)
        assert browser.raw[-1] == b'2["one"]'
        browser.drop()
        await until(lambda: browser.sid not in world.broker.clients)
        browser.open(node, {"pid": "mine", "offset": 1})
        await browser.joined()
        assert json.loads(world.connected.auth or b"") == {"pid": "mine", "offset": 1}
        browser.open(node, {"pid": f"{browser.sid}~{'A' * 22}", "offset": "x", "token": 1})  # since it was switched off
        await browser.joined()
        assert json.loads(world.connected.auth or b"") == {"token": 1}


async def test_not_offered_while_an_older_node_is_there() -> None:
    async with cluster(1) as world:
        [node] = world.nodes
        await world.bus.registry.register_app_node("app2-bbbbbb", {})
        await until(lambda: node.io_node._registration.level == 1)
        browser = await world.browser(node)
        assert browser.pid is None


async def test_who_does_not_know_offsets() -> None:
    async with cluster(1) as world:
        browser = await world.browser(world.nodes[0], handshake=PYTHON)
        assert browser.pid is None
        browser.drop()
        await until(lambda: browser.sid not in world.broker.clients)


@pytest.mark.parametrize("heard", ["an event", "no event", "an event of a former session"])
@pytest.mark.parametrize("said", ["nothing", "to others", "to it"])
async def test_quiet_for_longer_than_the_log_goes_back(heard: str, said: str) -> None:
    """It has missed nothing, unless something was said to it before the log begins."""
    async with cluster(2, RECOVERY_MAX_BYTES=1_000) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        if heard == "an event of a former session":
            await world.say(emit("zero"))
            await browser.got("zero")
            browser.drop(reasons.SERVER_DISCONNECT)
            await world.gone(browser)
            await world.say(emit("meanwhile"))
            await world.settled()
            browser.open(home)
            await browser.joined()
            browser.events.clear()
        await world.say(Join(browser.sid, "red"))
        if heard == "an event":
            await world.say(emit("one"))
            await browser.got("one")
        if said == "to it":
            browser.drop()
            await world.say(emit("two", ["red"]))
        for _ in range(3):
            await world.say(emit("x" * 1_000, ["blue"], skip=[browser.sid]) if said == "to others" else Canary(1))
            await world.say(emit("y" * 1_000, [home.id]))
            await asyncio.sleep(0.3)
        await world.settled()
        await home.io_node._recovery.retention.forget_due()
        at = await world.bus.homes.rooms(home.id, browser.sid)
        assert at is not None
        assert at.rooms == {browser.sid, "red"}
        browser.drop()
        await world.away(browser)
        await world.say(emit("three", ["red"]))
        browser.open(other)
        await browser.joined()
        if said == "to it":
            assert not browser.recovered
            assert other.counters.claims_refused == {"window": 1}
        else:
            await browser.got(*(["one"] if heard == "an event" else []), "three")
            assert browser.recovered
