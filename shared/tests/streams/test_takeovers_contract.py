"""Entries that were taken over unfinished: how often, and the quarantine of a lane, in memory and in Valkey alike."""

import asyncio

import pytest

from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_of, quarantine_of
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.lanes import LaneEntry, LaneReader
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import Accepted, ChangeResult, Ended, Restoring
from sio_cluster.testing.contract import Cluster, Writer, commit

pytestmark = pytest.mark.slow  # most wait until a lease has run out

APP1, APP2, APP3, APP4 = "app-aaaaaa", "app-bbbbbb", "app-cccccc", "app-dddddd"
SHORT_MS, LONG_MS = 300, 60_000
LANE = 1
QUARANTINE = quarantine_of(LANE)


class Holders:
    """Holders of one lane after the other. `take` waits until the lease of the one before has run out."""

    def __init__(self, cluster: Cluster, number: int = LANE) -> None:
        self._cluster = cluster
        self._number = number
        self._leases = cluster.leases()
        self._readers: dict[str, LaneReader] = {}

    async def take(
        self, node_id: str, lease_ms: int = SHORT_MS, *, stood_still: bool = False
    ) -> tuple[LaneReader, Lease, list[LaneEntry]]:
        lease = await self.acquire(node_id, lease_ms, stood_still=stood_still)
        reader = self._readers.setdefault(node_id, self._cluster.lane_reader(node_id))
        return reader, lease, (await reader.claim(self._number)).entries

    async def acquire(self, node_id: str, lease_ms: int = SHORT_MS, *, stood_still: bool = False) -> Lease:
        backoff = Backoff(5, 20)
        while True:
            lease = await self._leases.acquire(self._number, node_id, lease_ms, stood_still=stood_still)
            if lease is not None:
                return lease
            await asyncio.sleep(next(backoff))  # Redis tells nobody

    async def release(self, lease: Lease, *, settled: bool) -> None:
        await self._leases.release(lease, settled=settled)


def writer(cluster: Cluster) -> Writer:
    return Writer(cluster.appender(), cluster.keys.uplink(LANE))


def takeovers(entries: list[LaneEntry]) -> list[tuple[bytes, int]]:
    return [(entry.entry, entry.takeovers) for entry in entries]


async def test_an_entry_counts_how_often_it_was_taken_over_unfinished(cluster: Cluster) -> None:
    holders, lane = Holders(cluster), writer(cluster)
    reader, _, _ = await holders.take(APP1)
    await lane.write(b"a")
    assert takeovers(await reader.read([LANE], 0, 10)) == [(b"a", 0)]
    reader, _, claimed = await holders.take(APP2)
    assert takeovers(claimed) == [(b"a", 1)]
    await lane.write(b"b")
    assert takeovers(await reader.read([LANE], 0, 10)) == [(b"b", 0)]
    await lane.write(b"c")  # nobody is given it
    reader, lease, claimed = await holders.take(APP3, LONG_MS)
    assert takeovers(claimed) == [(b"a", 2), (b"b", 1)]
    assert takeovers(await reader.read([LANE], 0, 10)) == [(b"c", 0)]
    await commit(cluster.appender(), lease, *claimed)


@pytest.mark.parametrize("settled", [True, False])
async def test_a_lane_that_was_released_does_not_count(cluster: Cluster, settled: bool) -> None:
    holders = Holders(cluster)
    reader, lease, _ = await holders.take(APP1, LONG_MS)
    await writer(cluster).write(b"a")
    await reader.read([LANE], 0, 10)
    for node_id in (APP2, APP3, APP4):
        await holders.release(lease, settled=settled)
        reader, lease, claimed = await holders.take(node_id, LONG_MS)
        assert [(entry.redelivered, entry.takeovers) for entry in claimed] == [(True, 0)]


async def test_a_holder_that_takes_its_own_lane_again_does_not_count(cluster: Cluster) -> None:
    holders = Holders(cluster)
    reader, _, _ = await holders.take(APP1)
    await writer(cluster).write(b"a")
    await reader.read([LANE], 0, 10)
    for _ in range(3):
        _, _, claimed = await holders.take(APP1)
        assert takeovers(claimed) == [(b"a", 0)]
    _, _, claimed = await holders.take(APP2)
    assert takeovers(claimed) == [(b"a", 1)]


async def test_a_holder_that_stood_still_counts_though_it_takes_its_own_lane_again(cluster: Cluster) -> None:
    """What it had been given may be what it stood still for."""
    holders, lane = Holders(cluster), writer(cluster)
    reader, _, _ = await holders.take(APP1, LONG_MS)
    await lane.write(b"a")
    await reader.read([LANE], 0, 10)
    _, _, claimed = await holders.take(APP1, LONG_MS, stood_still=True)
    assert takeovers(claimed) == [(b"a", 1)]
    await lane.write(b"b")
    await reader.read([LANE], 0, 10)
    await holders.acquire(APP1, LONG_MS, stood_still=True)
    _, _, claimed = await holders.take(APP1, LONG_MS, stood_still=True)  # after a lost answer
    assert takeovers(claimed) == [(b"a", 2), (b"b", 1)]


async def test_a_holder_that_claimed_nothing_does_not_count(cluster: Cluster) -> None:
    """It acquired the lane and died, so it cannot have begun anything."""
    holders = Holders(cluster)
    reader, _, _ = await holders.take(APP1)
    await writer(cluster).write(b"a")
    await reader.read([LANE], 0, 10)
    await holders.acquire(APP2)
    await holders.acquire(APP3)
    _, _, claimed = await holders.take(APP4)
    assert takeovers(claimed) == [(b"a", 1)]


async def test_entries_move_to_the_quarantine_in_parts(cluster: Cluster) -> None:
    holders, lane = Holders(cluster), writer(cluster)
    reader, lease, _ = await holders.take(APP1, LONG_MS)
    await lane.write(b"a1a2", b"b", b"c1c2")
    first, _, third = await reader.read([LANE], 0, 10)
    moves = [(first.id, [b"a1", b"a2"]), (third.id, [b"c1", b"c2"])]
    await reader.quarantine(lease, moves)
    await reader.quarantine(lease, moves)  # after a lost answer
    assert [entry.entry for entry in await reader.peek(LANE)] == [b"b"]
    assert [entry.entry for entry in await reader.peek(QUARANTINE)] == [b"a1", b"a2", b"c1", b"c2"]
    assert [entry.entry for entry in await reader.peek(QUARANTINE, 1)] == [b"a1"]
    keys = cluster.keys
    assert await cluster.appender().held_bytes([keys.uplink(LANE), keys.uplink(QUARANTINE)]) == [1, 8]


async def test_who_lost_the_lane_moves_nothing(cluster: Cluster) -> None:
    holders = Holders(cluster)
    reader, lease, _ = await holders.take(APP1)
    await writer(cluster).write(b"a")
    [entry] = await reader.read([LANE], 0, 10)
    other, _, _ = await holders.take(APP2, LONG_MS)
    with pytest.raises(LeaseLost):
        await reader.quarantine(lease, [(entry.id, [b"a"])])
    assert await other.peek(QUARANTINE) == []


async def test_a_quarantine_is_held_and_read_like_a_lane(cluster: Cluster) -> None:
    """Its entries begin with two takeovers. The one that was begun when its holder died has three."""
    reader, lease, _ = await Holders(cluster).take(APP1, LONG_MS)
    await writer(cluster).write(b"ab")
    [entry] = await reader.read([LANE], 0, 10)
    await reader.quarantine(lease, [(entry.id, [b"a", b"b"])])
    holders = Holders(cluster, QUARANTINE)
    alone, _, claimed = await holders.take(APP2)
    assert claimed == []
    [begun] = await alone.read([QUARANTINE], 0, 1)
    assert (begun.entry, begun.redelivered, begun.takeovers) == (b"a", True, 2)
    alone, in_quarantine, claimed = await holders.take(APP3, LONG_MS)
    assert takeovers(claimed) == [(b"a", 3)]
    assert await alone.set_aside(in_quarantine, claimed[0], "why") == 0
    [after] = await alone.read([QUARANTINE], 0, 1)
    assert takeovers([after]) == [(b"b", 2)]
    await holders.release(in_quarantine, settled=False)
    alone, in_quarantine, claimed = await holders.take(APP4, LONG_MS)
    assert takeovers(claimed) == [(b"b", 2)]
    await commit(cluster.appender(), in_quarantine, claimed[0])
    assert await alone.peek(QUARANTINE) == []


async def test_the_lease_of_a_quarantine_fences_the_clients_of_its_lane(cluster: Cluster) -> None:
    lanes = cluster.config.lanes
    sid = next(sid for n in range(1000) if lane_of(sid := f"io1-aaaaaa.{n:016d}", lanes) == LANE)
    handshake = Handshake("GET", "/", "", [], "10.0.0.1")
    records = cluster.records()
    await records.store([ClientConnected(sid, "c", "/", None, handshake, "polling")])
    holders = Holders(cluster, QUARANTINE)
    _, former, _ = await holders.take(APP1)
    _, lease, _ = await holders.take(APP2, LONG_MS)
    assert await records.update([Accepted(sid), Restoring(sid, True)], [former, lease]) == [
        ChangeResult.FENCED,
        ChangeResult.DONE,
    ]
    record = await records.load(sid)
    assert record is not None
    assert (record.accepted, record.restoring) == (False, True)
    assert await records.update([Restoring(sid, False)], [lease]) == [ChangeResult.DONE]
    assert await records.forget([Ended(sid)], [former]) == 1
    record = await records.load(sid)
    assert record is not None
    assert not record.restoring
