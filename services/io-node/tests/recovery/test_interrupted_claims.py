"""Claims while Redis is away, when the home is lost, and when thousands come at once."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from sio_cluster.protocol import reasons

from .cluster import cluster, emit, until


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


async def test_a_record_that_cannot_be_read() -> None:
    """Whoever shows a pid must not wait for ever."""
    with capture_logs() as lines:
        await _come_back_to_a_broken_record()
    [failed] = [line for line in lines if line["event"] == "claim_failed"]
    assert failed["log_level"] == "error"


async def _come_back_to_a_broken_record() -> None:
    async with cluster(1) as world:
        [node] = world.nodes
        browser = await world.browser(node)
        sid = browser.sid
        browser.drop()
        await world.away(browser)
        world.broker.clients[sid].connected = b"\xc1"
        browser.open(node)
        await browser.joined()
        assert not browser.recovered
        assert browser.sid != sid
        assert node.counters.claims_refused == {"error": 1}


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
@pytest.mark.timeout(300)
@pytest.mark.parametrize("clients", [200, pytest.param(2_000, marks=pytest.mark.ci_only)])
async def test_a_burst_loads_the_log_once(monkeypatch: pytest.MonkeyPatch, clients: int) -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        browsers = [await world.browser(home) for _ in range(clients)]
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
