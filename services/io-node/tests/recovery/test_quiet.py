"""Clients whose last event is older than the log: they come back if they have missed nothing."""

import pytest

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Canary, Join

from .cluster import cluster, emit


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
            await world.settled()
            node.later()
        await node.io_node._recovery.retention.forget_due()
        browser.open(node)
        await browser.joined()
        assert not browser.recovered
        assert node.counters.claims_refused == {"window": 1}


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
            await world.settled()
            home.later()
        await home.io_node._recovery.retention.forget_due()
        at = await world.bus.homes.rooms(home.id, browser.sid, None)
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
