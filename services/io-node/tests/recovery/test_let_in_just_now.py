"""A client that comes back right behind its CONNECT: its record does not say yet that the application has let it in."""

import asyncio

from sio_cluster.streams.api.records import Accepted

from .cluster import cluster, emit


async def test_the_claim_waits_for_the_record() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        world.app.recording = False
        browser = await world.browser(home)
        await world.say(emit("one"))
        browser.open(other)
        await asyncio.sleep(0.1)
        assert browser.look().recovered is None
        await world.bus.records.update([Accepted(browser.sid)])
        await browser.joined()
        assert browser.recovered
        await browser.got("one")
        assert not other.counters.claims_refused


async def test_a_client_that_leaves_meanwhile_has_claimed_nothing() -> None:
    async with cluster(2) as world:
        home, other = world.nodes
        world.app.recording = False
        browser = await world.browser(home)
        former = browser.connection
        browser.open(other)
        await asyncio.sleep(0.1)
        browser.drop()
        await world.bus.records.update([Accepted(browser.sid)])
        await asyncio.sleep(0.6)
        assert world.facts(browser.sid) == [("connect", 0)]
        assert former.closed is None
        assert world.broker.clients[browser.sid].generation == 0
