"""Whose claim is refused becomes a new client."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from sio_cluster.node.monitoring.metrics import exposition
from sio_cluster.protocol.messages import ClientDisconnected, Disconnect
from sio_cluster.protocol.recovery import Position, encode_offset

from ..tiny_app import kinds
from .cluster import Browser, cluster, emit, until


@pytest.fixture
def said() -> Iterator[list[Any]]:
    """All that is logged, of every level, whatever a test before has configured."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines
    structlog.reset_defaults()
    if before is not None:
        structlog.configure(**before)


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
async def test_a_wrong_claim(kind: str, said: list[Any]) -> None:
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
    assert said
    assert secret not in repr(said)


async def test_the_secret_is_nowhere(said: list[Any]) -> None:
    """A pid that is right is in no log, no metric, no fact, and not in Redis."""
    async with cluster(2) as world:
        home, other = world.nodes
        browser = await world.browser(home)
        secret = browser.pid.partition("~")[2]
        browser.drop()
        await world.away(browser)
        browser.open(other, {"token": 1})
        await browser.joined()
        assert browser.recovered
        assert world.connected.auth == b'{"token":1}'
        metrics = "".join(exposition(node.io_node.metrics()).decode() for node in world.nodes)
        assert "sio_io_recoveries_total" in metrics
        stored = repr((world.broker.clients, [stream.entries for stream in world.broker.streams.values()]))
        assert browser.sid in stored
        assert browser.sid in repr(said)
        for text in (metrics, stored, repr(said), repr(world.app.facts)):
            assert secret not in text


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
