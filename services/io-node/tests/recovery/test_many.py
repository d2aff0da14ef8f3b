"""Thousands of clients that come back at once, and clients that outlive one io-node after the other."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from io_node.recovery import claims
from sio_cluster.streams.api.inboxes import InboxEntry
from sio_cluster.streams.api.records import Accepted

from .cluster import Node, cluster, emit, until

pytestmark = pytest.mark.slow

CLIENTS = 500


async def until_quiet() -> None:
    """All that can go on has gone on."""
    for _ in range(100):
        await asyncio.sleep(0)


def read_pages(node: Node, monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, bytes]]:
    """Counts from now on how often this node reads each page of a log: by home, and the id behind which it begins."""
    homes = node.io_node._recovery.homes._logs
    page = homes.page
    pages: Counter[tuple[str, bytes]] = Counter()

    async def counted(home: str, after: bytes, *rest: Any) -> list[InboxEntry]:
        pages[home, after] += 1
        return await page(home, after, *rest)

    monkeypatch.setattr(homes, "page", counted)
    return pages


async def test_each_survivor_reads_the_log_of_a_dead_home_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with cluster(3) as world:
        dead, *survivors = world.nodes
        browsers = [await world.browser(dead) for _ in range(CLIENTS)]
        await world.say(emit("seen"))
        for browser in browsers:
            await browser.got("seen")
        await world.kill(dead)
        await world.say(emit("missed"))
        pages = [read_pages(node, monkeypatch) for node in survivors]
        for number, browser in enumerate(browsers):
            browser.open(survivors[number % 2])
        for browser in browsers:
            await browser.joined()
            await browser.got("seen", "missed")
            assert browser.recovered
        for node, of_one in zip(survivors, pages, strict=True):
            assert {home for home, _ in of_one} == {dead.id}
            assert set(of_one.values()) == {1}
            assert node.io_node.bus_counters.home_logs_loaded == 1


async def test_few_claims_go_on_in_one_turn_of_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis answers all of them at once."""
    async with cluster(2) as world:
        home, other = world.nodes
        browsers = [await world.browser(home) for _ in range(CLIENTS)]
        records = other.io_node._bus.records
        load, answer = records.load, asyncio.Event()
        asked = 0

        async def slow(sid: str) -> Any:
            nonlocal asked
            asked += 1
            await answer.wait()
            return await load(sid)

        monkeypatch.setattr(records, "load", slow)
        for browser in browsers:
            browser.open(other)
        await until(lambda: asked > 0)
        await until_quiet()
        assert asked == claims._AT_ONCE
        answer.set()
        for browser in browsers:
            await browser.joined()
            assert browser.recovered


async def test_claims_that_wait_do_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the log of another home, or until the application has let them in."""
    async with cluster(3) as world:
        slow, home, other = world.nodes
        browsers = [await world.browser(slow) for _ in range(claims._AT_ONCE + 1)]
        quick = await world.browser(home)
        world.app.recording = False
        pending = [await world.browser(home) for _ in range(claims._AT_ONCE + 1)]
        logs = other.io_node._recovery.homes._logs
        horizon, loads = logs.horizon, asyncio.Event()

        async def slowly(name: str) -> bytes | None:
            if name == slow.id:
                await loads.wait()
            return await horizon(name)

        monkeypatch.setattr(logs, "horizon", slowly)
        for browser in (*browsers, *pending):
            browser.open(other)
        quick.open(other)
        await quick.joined()
        assert quick.recovered
        assert all(browser.look().recovered is None for browser in (*browsers, *pending))
        loads.set()
        await world.bus.records.update([Accepted(browser.sid) for browser in pending])
        for browser in (*browsers, *pending):
            await browser.joined()
            assert browser.recovered


async def test_after_many_deploys_homes_are_read_that_have_clients() -> None:
    """One more for each deploy, as long as a client of it stays. It goes when the last one has gone."""
    deploys = 5
    async with cluster(1) as world:
        browsers = []
        for _ in range(deploys):
            old = world.nodes[-1]
            browsers.append(await world.browser(old))
            new = await world.start()
            await world.drain(old)
            for browser in browsers:
                browser.open(new)
                await browser.joined()
                assert browser.recovered
        last = world.nodes[-1]
        homes = last.io_node._recovery.homes
        assert homes.adopted == deploys
        await world.say(emit("one"))
        for browser in browsers:
            await browser.got("one")
        for browser in browsers[:3]:
            browser.drop()
            await world.away(browser)
        await until(lambda: homes.clients() == deploys - 3)
        clock = homes._clock
        for step in (61, 122):  # first the logs go, then the homes
            homes._clock = lambda: clock() + step  # noqa: B023
            await homes.tidy()
        assert homes.adopted == deploys - 3
