"""Who closes while its claim is looked at, or comes back twice, is told of exactly once."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol import reasons

from .cluster import Browser, Cluster, cluster, emit, until


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
