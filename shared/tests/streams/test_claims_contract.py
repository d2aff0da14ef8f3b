"""What a former holder left comes in pages, from memory and from Valkey alike."""

import asyncio
from dataclasses import dataclass

import pytest

from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.streams.api.lanes import PAGE_ENTRIES, Claimed, LaneEntry, LaneReader
from sio_cluster.streams.api.leases import Lease
from sio_cluster.testing.contract import Cluster, Writer, commit

APP1, APP2, APP3, APP4 = "app-aaaaaa", "app-bbbbbb", "app-cccccc", "app-dddddd"
LONG_MS = 60_000
LANE = 2
PAGE_BYTES = 4


@dataclass
class Held:
    """A lane that is held: `page` is the first one of what was left."""

    reader: LaneReader
    lease: Lease
    page: Claimed

    async def rest(self) -> list[LaneEntry]:
        """All that the pages bring."""
        page, entries = self.page, list(self.page.entries)
        while page.rest is not None:
            page = await self.reader.claim_more(page.rest)
            entries += page.entries
        return entries


async def take(cluster: Cluster, node_id: str, lane: int = LANE, page_bytes: int = PAGE_BYTES) -> Held:
    """Takes the lane as soon as it is free."""
    leases, backoff = cluster.leases(), Backoff(5, 20)
    async with asyncio.timeout(10):
        while (lease := await leases.acquire(lane, node_id, LONG_MS)) is None:  # Redis tells nobody
            await asyncio.sleep(next(backoff))
    reader = cluster.lane_reader(node_id, page_bytes)
    return Held(reader, lease, await reader.claim(lane))


async def die(cluster: Cluster, held: Held) -> None:
    """The lease runs out."""
    await cluster.leases().renew([held.lease], 1)


async def left_by_one(cluster: Cluster, *entries: bytes) -> None:
    """APP1 was given these entries, and died."""
    held = await take(cluster, APP1)
    await Writer(cluster.appender(), cluster.keys.uplink(LANE)).write(*entries)
    assert bodies(await held.reader.read([LANE], 0, 1000)) == list(entries)
    await die(cluster, held)


def bodies(entries: list[LaneEntry]) -> list[bytes]:
    return [entry.entry for entry in entries]


def takeovers(entries: list[LaneEntry]) -> list[tuple[bytes, int]]:
    return [(entry.entry, entry.takeovers) for entry in entries]


async def test_no_page_has_more_bytes(cluster: Cluster) -> None:
    """But each has one entry at least, and one page brings PAGE_ENTRIES at most."""
    await left_by_one(cluster, b"aa", b"bb", b"c", b"too large", b"d", b"eeee")
    held = await take(cluster, APP2)
    pages = [held.page]
    while pages[-1].rest is not None:
        pages.append(await held.reader.claim_more(pages[-1].rest))
    assert [bodies(page.entries) for page in pages] == [[b"aa", b"bb"], [b"c"], [b"too large"], [b"d"], [b"eeee"]]
    assert all(entry.redelivered for page in pages for entry in page.entries)


async def test_no_page_has_more_entries(cluster: Cluster) -> None:
    entries = [b"%d" % number for number in range(2 * PAGE_ENTRIES)]
    await left_by_one(cluster, *entries)
    held = await take(cluster, APP2, page_bytes=1_000_000)
    assert bodies(held.page.entries) == entries[:PAGE_ENTRIES]
    assert bodies(await held.rest()) == entries


async def test_a_page_may_be_claimed_again_after_a_lost_answer(cluster: Cluster) -> None:
    await left_by_one(cluster, b"aaaa", b"bbbb", b"cccc")
    held = await take(cluster, APP2)
    assert held.page.rest is not None
    await commit(cluster.appender(), held.lease, held.page.entries[0])
    first = await held.reader.claim_more(held.page.rest)
    assert bodies(first.entries) == [b"bbbb"]
    assert await held.reader.claim_more(held.page.rest) == first


async def test_new_entries_come_behind_the_pages(cluster: Cluster) -> None:
    await left_by_one(cluster, b"aaaa", b"bbbb")
    writer = Writer(cluster.appender(), cluster.keys.uplink(LANE), node_id="io2-aaaaaa")
    await writer.write(b"new1")
    held = await take(cluster, APP2)
    await writer.write(b"new2")
    assert bodies(await held.rest()) == [b"aaaa", b"bbbb"]
    fresh = await held.reader.read([LANE], 0, 10)
    assert [(entry.entry, entry.redelivered, entry.takeovers) for entry in fresh] == [
        (b"new1", False, 0),
        (b"new2", False, 0),
    ]


async def test_the_next_holder_claims_what_a_former_one_had_yet_to_claim(cluster: Cluster) -> None:
    """It was not given to that one, so its death does not count for it."""
    await left_by_one(cluster, b"aaaa", b"bbbb", b"cccc", b"dddd")
    second = await take(cluster, APP2)
    assert second.page.rest is not None
    assert takeovers((await second.reader.claim_more(second.page.rest)).entries) == [(b"bbbb", 1)]
    await die(cluster, second)
    third = await take(cluster, APP3)
    assert takeovers(third.page.entries) == [(b"aaaa", 2)]
    assert takeovers(await third.rest()) == [(b"aaaa", 2), (b"bbbb", 2), (b"cccc", 1), (b"dddd", 1)]
    await die(cluster, third)
    fourth = await take(cluster, APP4)
    assert takeovers(await fourth.rest()) == [(b"aaaa", 2), (b"bbbb", 2), (b"cccc", 2), (b"dddd", 2)]


async def test_a_death_among_those_taken_over_twice_leaves_the_others(cluster: Cluster) -> None:
    await left_by_one(cluster, b"aaaa", b"bbbb")
    second = await take(cluster, APP2)
    await second.rest()
    await Writer(cluster.appender(), cluster.keys.uplink(LANE), "io2-aaaaaa").write(b"cccc")
    assert bodies(await second.reader.read([LANE], 0, 10)) == [b"cccc"]
    await die(cluster, second)
    third = await take(cluster, APP3)
    assert takeovers(third.page.entries) == [(b"aaaa", 2)]
    await die(cluster, third)
    fourth = await take(cluster, APP4)
    assert takeovers(await fourth.rest()) == [(b"aaaa", 2), (b"bbbb", 2), (b"cccc", 1)]


@pytest.mark.parametrize("settled", [True, False])
async def test_a_lane_that_is_released_among_the_pages_does_not_count(cluster: Cluster, settled: bool) -> None:
    await left_by_one(cluster, b"aaaa", b"bbbb", b"cccc")
    second = await take(cluster, APP2)
    await cluster.leases().release(second.lease, settled=settled)
    third = await take(cluster, APP3)
    assert takeovers(await third.rest()) == [(b"aaaa", 1), (b"bbbb", 1), (b"cccc", 1)]
    await die(cluster, third)
    fourth = await take(cluster, APP4)
    assert takeovers(await fourth.rest()) == [(b"aaaa", 2), (b"bbbb", 2), (b"cccc", 2)]


async def test_who_takes_its_own_lane_again_begins_with_the_first_page(cluster: Cluster) -> None:
    """A page of the lease before brings nothing, and gives nothing."""
    await left_by_one(cluster, b"aaaa", b"bbbb", b"cccc")
    before = await take(cluster, APP2)
    again = await take(cluster, APP2)
    assert bodies(again.page.entries) == [b"aaaa"]
    assert before.page.rest is not None
    assert await again.reader.claim_more(before.page.rest) == Claimed([])
    await die(cluster, again)
    third = await take(cluster, APP3)
    assert takeovers(await third.rest()) == [(b"aaaa", 2), (b"bbbb", 1), (b"cccc", 1)]


async def test_who_lost_the_lane_claims_nothing_more(cluster: Cluster) -> None:
    await left_by_one(cluster, b"aaaa", b"bbbb")
    second = await take(cluster, APP2)
    await die(cluster, second)
    third = await take(cluster, APP3)
    assert second.page.rest is not None
    assert await second.reader.claim_more(second.page.rest) == Claimed([])
    assert bodies(await third.rest()) == [b"aaaa", b"bbbb"]


async def test_a_quarantine_is_claimed_and_looked_at_in_pages(cluster: Cluster) -> None:
    held = await take(cluster, APP1)
    await Writer(cluster.appender(), cluster.keys.uplink(LANE)).write(b"abc")
    [entry] = await held.reader.read([LANE], 0, 10)
    await held.reader.quarantine(held.lease, [(entry.id, [b"aaa", b"bbb", b"c"])])
    quarantine = quarantine_of(LANE)
    first = await held.reader.peek(quarantine)
    assert bodies(first) == [b"aaa"]
    assert bodies(await held.reader.peek(quarantine, after=first[0].id)) == [b"bbb", b"c"]
    assert bodies(await held.reader.peek(quarantine, 1, after=first[0].id)) == [b"bbb"]
    alone = await take(cluster, APP2, quarantine)
    assert bodies(await alone.reader.read([quarantine], 0, 2)) == [b"aaa", b"bbb"]
    await die(cluster, alone)
    alone = await take(cluster, APP3, quarantine)
    assert takeovers(alone.page.entries) == [(b"aaa", 3)]
    await die(cluster, alone)
    alone = await take(cluster, APP4, quarantine)
    assert takeovers(await alone.rest()) == [(b"aaa", 3), (b"bbb", 3)]
