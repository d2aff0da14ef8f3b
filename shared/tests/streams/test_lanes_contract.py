"""Lanes, in memory and in Valkey alike: who reads them gets all that is in them, in order, until it is committed."""

import asyncio

import pytest

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.api.lanes import Claimed, LaneEntry
from sio_cluster.testing.contract import Cluster, commit

from .holding import APP1, APP2, BLOCK_MS, LONG_MS, bodies, ids, lane_writer, take, take_when_free

APPENDED, DUPLICATE, FULL = AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL
BARRED = AppendResult.BARRED


class TestLanes:
    async def test_order_within_each_lane(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1, 0)
        await cluster.leases().acquire(1, APP1, LONG_MS)
        await reader.claim(1)
        await lane_writer(cluster, 0).write(b"a", b"b", b"c")
        await lane_writer(cluster, 1).write(b"1", b"2")
        await lane_writer(cluster, 2).write(b"not ours")
        first = await reader.read([0, 1], 0, 2)
        assert bodies([entry for entry in first if entry.lane == 0]) == [b"a", b"b"]
        assert bodies([entry for entry in first if entry.lane == 1]) == [b"1", b"2"]
        assert bodies(await reader.read([0, 1], 0, 2)) == [b"c"]
        assert not any(entry.redelivered for entry in first)

    async def test_a_blocked_read_wakes(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1)
        reading = asyncio.create_task(reader.read([0], BLOCK_MS, 10))
        await lane_writer(cluster).write(b"a")
        assert bodies(await reading) == [b"a"]

    async def test_no_lane_at_all_waits_as_well(self, cluster: Cluster) -> None:
        assert await cluster.lane_reader(APP1).read([], 1, 10) == []

    async def test_interrupt_ends_a_blocked_read(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1)
        for lanes in ([0], []):
            reading = asyncio.create_task(reader.read(lanes, BLOCK_MS, 10))
            async with asyncio.timeout(5):
                while not reading.done():
                    await reader.interrupt()
                    await asyncio.sleep(0)
            assert await reading == []
        await lane_writer(cluster).write(b"a")
        assert bodies(await reader.read([0], BLOCK_MS, 10)) == [b"a"]

    async def test_interrupt_between_reads_has_no_effect(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1)
        await reader.interrupt()
        await lane_writer(cluster).write(b"a")
        assert bodies(await reader.read([0], BLOCK_MS, 10)) == [b"a"]

    async def test_a_cancelled_read_loses_nothing(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1)
        writer = lane_writer(cluster)
        await writer.write(b"a")
        assert bodies(await reader.read([0], 0, 10)) == [b"a"]
        for number in range(20):
            reading = asyncio.create_task(reader.read([0], BLOCK_MS, 10))
            for _ in range(number):
                await asyncio.sleep(0)
            await writer.write(b"%d" % number)
            reading.cancel()
            await asyncio.wait([reading])
            if reading.cancelled():
                assert bodies(await reader.read([0], BLOCK_MS, 10)) == [b"%d" % number]
            else:
                assert bodies(reading.result()) == [b"%d" % number]

    async def test_a_second_consumer_gets_what_the_first_did_not_commit(self, cluster: Cluster) -> None:
        first, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster)
        await writer.write(b"a", b"b", b"c", b"d")
        given = await first.read([0], 0, 3)
        assert bodies(given) == [b"a", b"b", b"c"]
        await commit(cluster.appender(), lease, *given[:1])
        await cluster.leases().renew([lease], 1)  # it runs out now, however slow this machine is
        second, _, claimed = await take_when_free(cluster, APP2)
        assert bodies(claimed) == [b"b", b"c"]
        assert all(entry.redelivered for entry in claimed)
        fresh = await second.read([0], 0, 10)
        assert bodies(fresh) == [b"d"]
        assert not fresh[0].redelivered

    async def test_what_was_read_before_the_claim_comes_again_after_it(self, cluster: Cluster) -> None:
        """A read that was under way when its own lane was acquired anew: its entries belong behind the claimed ones."""
        reader, _, _ = await take(cluster, APP1)
        writer = lane_writer(cluster)
        await writer.write(b"a")
        assert bodies(await reader.read([0], 0, 10)) == [b"a"]
        await cluster.leases().acquire(0, APP1, LONG_MS)
        await writer.write(b"b")
        assert bodies(await reader.read([0], 0, 10)) == [b"b"]
        assert bodies((await reader.claim(0)).entries) == [b"a"]
        assert bodies(await reader.read([0], 0, 10)) == [b"b"]
        assert await reader.read([0], 0, 10) == []

    async def test_a_read_that_a_claim_overtakes_brings_nothing(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1)
        assert await reader.read([0], 0, 10) == []
        reading = asyncio.create_task(reader.read([0], BLOCK_MS, 10))
        assert await reader.claim(0) == Claimed([])
        await lane_writer(cluster).write(b"a")
        async with asyncio.timeout(5):
            while not reading.done():
                await reader.interrupt()
        assert await reading == []
        assert bodies(await reader.read([0], 0, 10)) == [b"a"]

    async def test_a_clean_handover_redelivers_nothing(self, cluster: Cluster) -> None:
        first, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster)
        await writer.write(b"a", b"b")
        await commit(cluster.appender(), lease, *await first.read([0], 0, 10))
        await writer.write(b"c")
        await cluster.leases().release(lease)
        second, _, claimed = await take(cluster, APP2)
        assert claimed == []
        assert [(entry.entry, entry.redelivered) for entry in await second.read([0], 0, 10)] == [(b"c", False)]

    async def test_a_former_holder_takes_nothing_away(self, cluster: Cluster) -> None:
        stale, _, _ = await take(cluster, APP1, lease_ms=50)
        writer = lane_writer(cluster)
        await writer.write(b"a")
        assert bodies(await stale.read([0], 0, 10)) == [b"a"]
        blocked = asyncio.create_task(stale.read([0], 300, 10))
        second, _, claimed = await take_when_free(cluster, APP2)
        await writer.write(b"b")
        assert await blocked == []
        await writer.write(b"c")
        assert await stale.read([0], 1, 10) == []
        assert bodies(claimed) == [b"a"]
        assert bodies(await second.read([0], 0, 10)) == [b"b", b"c"]

    async def test_a_lost_lane_does_not_hinder_the_others(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1, 0, lease_ms=50)
        await cluster.leases().acquire(1, APP1, LONG_MS)
        await reader.claim(1)
        await take_when_free(cluster, APP2, 0)
        await lane_writer(cluster, 1).write(b"a")
        found: list[LaneEntry] = []
        while not found:
            found = await reader.read([0, 1], 10, 10)
        assert bodies(found) == [b"a"]

    async def test_a_lane_that_comes_back(self, cluster: Cluster) -> None:
        first, _, _ = await take(cluster, APP1, lease_ms=50)
        writer = lane_writer(cluster)
        await writer.write(b"a")
        await first.read([0], 0, 10)
        second, lease, _ = await take_when_free(cluster, APP2)
        assert await first.read([0], 1, 10) == []
        await cluster.leases().release(lease)
        await cluster.leases().acquire(0, APP1, LONG_MS)
        assert bodies((await first.claim(0)).entries) == [b"a"]
        await writer.write(b"b")
        assert bodies(await first.read([0], 0, 10)) == [b"b"]
        assert await second.claim(0) == Claimed([])

    async def test_an_old_token_is_refused(self, cluster: Cluster) -> None:
        first, old, _ = await take(cluster, APP1, lease_ms=50)
        await lane_writer(cluster).write(b"a")
        [entry] = await first.read([0], 0, 10)
        _, lease, claimed = await take_when_free(cluster, APP2)
        assert lease.token > old.token
        with pytest.raises(LeaseLost):
            await commit(cluster.appender(), old, entry)
        with pytest.raises(LeaseLost):
            await first.set_aside(old, entry, "because")
        assert bodies(claimed) == [b"a"]
        await commit(cluster.appender(), lease, *claimed)

    async def test_ones_own_expired_lease_is_lost_too(self, cluster: Cluster) -> None:
        reader, old, _ = await take(cluster, APP1, lease_ms=50)
        await lane_writer(cluster).write(b"a")
        given = await reader.read([0], 0, 10)
        second, _, claimed = await take(cluster, APP1)
        assert ids(claimed) == ids(given)
        with pytest.raises(LeaseLost):
            await commit(cluster.appender(), old, *given)
        assert await second.read([0], 1, 10) == []

    async def test_a_commit_may_be_repeated(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=20)
        await writer.write(b"x" * 10, b"y" * 10)
        entries = await reader.read([0], 0, 10)
        await commit(cluster.appender(), lease, *entries[:1])
        await commit(cluster.appender(), lease, *entries[:1])
        assert await writer.write_as(3, b"z" * 11) is FULL
        assert await writer.write_as(3, b"z" * 10) is APPENDED

    async def test_a_commit_of_very_many(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=2600)
        await asyncio.gather(*[writer.write_as(seq, b"x") for seq in range(1, 2501)])
        entries = []
        while found := await reader.read([0], 0, 1000):
            entries += found
        await commit(cluster.appender(), lease, *entries)
        assert await writer.write_as(3000, b"x" * 2600) is APPENDED
        assert await writer.write_as(3001, b"x") is FULL

    async def test_what_cannot_be_decoded_is_set_aside(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1, lease_ms=LONG_MS)
        writer = lane_writer(cluster, max_bytes=10)
        await writer.write(b"\xff" * 5, b"good!")
        bad, good = await reader.read([0], 0, 10)
        await reader.set_aside(lease, bad, "not msgpack")
        await reader.set_aside(lease, bad, "not msgpack")
        assert await writer.write_as(3, b"123456") is FULL
        assert await writer.write_as(3, b"12345") is APPENDED
        await cluster.leases().release(lease)
        _, _, claimed = await take(cluster, APP2)
        assert ids(claimed) == [good.id]
