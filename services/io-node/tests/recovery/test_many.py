"""Thousands of clients that come back at once, and clients that outlive one io-node after the other."""

from collections import Counter
from typing import Any

import pytest

from sio_cluster.streams.api.inboxes import InboxEntry

from .cluster import Node, cluster, emit, until

CLIENTS = 500


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
        for of_one in pages:
            assert {home for home, _ in of_one} == {dead.id}
            assert set(of_one.values()) == {1}


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
