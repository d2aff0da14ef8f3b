"""What every caller of the streams may count on, held against the memory fakes and against Valkey alike."""

import asyncio
from dataclasses import replace
from typing import TypeAlias

import pytest

from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import ClusterMismatch, LeaseLost
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.lanes import Claimed, LaneEntry, LaneReader
from sio_cluster.streams.api.leases import Lease, Leases
from sio_cluster.testing.contract import Cluster, Writer

APP1, APP2, IO1 = "app-aaaaaa", "app-bbbbbb", "io1-aaaaaa"
APPENDED, DUPLICATE, FULL = AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL
BARRED = AppendResult.BARRED
LONG_MS = 60_000
BLOCK_MS = 10_000


Held: TypeAlias = tuple[LaneReader, Lease, list[LaneEntry]]
"""A reader that holds a lane, its lease, and what it claimed."""


async def acquire(leases: Leases, lane: int, node_id: str, lease_ms: int = LONG_MS) -> Lease:
    """The lease of a lane that is free."""
    lease = await leases.acquire(lane, node_id, lease_ms)
    assert lease is not None
    return lease


async def take(cluster: Cluster, node_id: str, lane: int = 0, lease_ms: int = LONG_MS) -> Held:
    lease = await acquire(cluster.leases(), lane, node_id, lease_ms)
    reader = cluster.lane_reader(node_id)
    return reader, lease, (await reader.claim(lane)).entries


async def take_when_free(cluster: Cluster, node_id: str, lane: int = 0) -> Held:
    """As `take`, once the present lease has run out."""
    leases, backoff = cluster.leases(), Backoff(5, 20)
    async with asyncio.timeout(10):
        while (lease := await leases.acquire(lane, node_id, LONG_MS)) is None:  # noqa: ASYNC110  # Redis tells nobody
            await asyncio.sleep(next(backoff))
    reader = cluster.lane_reader(node_id)
    return reader, lease, (await reader.claim(lane)).entries


def lane_writer(cluster: Cluster, lane: int = 0, max_bytes: int = 1 << 20) -> Writer:
    return Writer(cluster.appender(), cluster.keys.uplink(lane), max_bytes=max_bytes)


def bodies(entries: list[LaneEntry]) -> list[bytes]:
    return [entry.entry for entry in entries]


def ids(entries: list[LaneEntry]) -> list[bytes]:
    return [entry.id for entry in entries]


class TestAppend:
    async def test_a_retry_is_recognised(self, cluster: Cluster) -> None:
        reader, _, _ = await take(cluster, APP1)
        writer = lane_writer(cluster)
        assert await writer.write_as(1, b"a") is APPENDED
        assert await writer.write_as(1, b"a") is DUPLICATE
        assert await writer.write_as(2, b"b") is APPENDED
        assert await writer.write_as(1, b"a") is DUPLICATE
        assert bodies(await reader.read([0], 0, 10)) == [b"a", b"b"]

    async def test_a_retry_is_recognised_after_its_entry_is_gone(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster)
        await writer.write_as(1, b"a")
        await reader.commit(lease, ids(await reader.read([0], 0, 10)))
        assert await writer.write_as(1, b"a") is DUPLICATE
        assert await reader.read([0], 0, 10) == []

    async def test_each_sender_and_each_stream_counts_for_itself(self, cluster: Cluster) -> None:
        appender, keys = cluster.appender(), cluster.keys
        first = Append(keys.uplink(0), IO1, 7, b"a", 1000)
        other_stream = Append(keys.uplink(1), IO1, 7, b"a", 1000)
        other_sender = Append(keys.uplink(0), "io2-aaaaaa", 7, b"a", 1000)
        assert await appender.append([first, other_stream]) == [APPENDED, APPENDED]
        assert await appender.append([other_sender]) == [APPENDED]

    async def test_full_has_no_effect_and_ends_with_a_commit(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=10)
        assert await writer.write_as(1, b"12345678") is APPENDED
        assert await writer.write_as(2, b"345") is FULL
        assert await writer.write_as(2, b"34") is APPENDED
        assert await writer.write_as(3, b"5") is FULL
        entries = await reader.read([0], 0, 10)
        assert bodies(entries) == [b"12345678", b"34"]
        await reader.commit(lease, ids(entries)[:1])
        assert await writer.write_as(3, b"123456789") is FULL
        assert await writer.write_as(3, b"12345678") is APPENDED

    async def test_an_empty_stream_takes_an_entry_of_any_size(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=10)
        for round_number in range(3):
            assert await writer.write(b"x" * 100) == [APPENDED], round_number
            assert await writer.write_as(writer.seq + 1, b"y") is FULL
            await reader.commit(lease, ids(await reader.read([0], 0, 10)))

    async def test_one_call_does_not_take_two_entries_for_one_stream(self, cluster: Cluster) -> None:
        append = Append(cluster.keys.uplink(0), IO1, 1, b"a", 1000)
        with pytest.raises(ValueError, match="at most one append for each stream"):
            await cluster.appender().append([append, append])

    async def test_what_a_stream_holds(self, cluster: Cluster) -> None:
        """Bytes of entries, less what was committed; a stream that nobody knows holds nothing."""
        appender = cluster.appender()
        streams = [cluster.keys.uplink(0), cluster.keys.uplink(1)]
        reader, lease, _ = await take(cluster, APP1)
        await lane_writer(cluster).write(b"12345", b"678")
        assert await appender.held_bytes(streams) == [8, 0]
        first, _ = await reader.read([0], 0, 10)
        await reader.commit(lease, [first.id])
        assert await appender.held_bytes(streams) == [3, 0]

    async def test_nothing_to_append(self, cluster: Cluster) -> None:
        assert await cluster.appender().append([]) == []


class TestInbox:
    async def test_who_is_silent_is_forgotten_and_its_next_entry_is_taken(self, cluster: Cluster) -> None:
        reader, key = cluster.inbox_reader(IO1), cluster.keys.inbox(IO1)
        silent, busy = Writer(cluster.appender(), key, APP1), Writer(cluster.appender(), key, "app-bbbbbb")
        await silent.write(b"a")
        await busy.write(b"b")
        await reader.forget_silent()
        assert await silent.write_as(1, b"a") is DUPLICATE
        await busy.write(b"c")
        await reader.forget_silent()
        assert await busy.write_as(2, b"c") is DUPLICATE
        assert await silent.write(b"d") == [APPENDED]
        assert await silent.write_as(2, b"d") is DUPLICATE
        assert await reader.read(0) == [b"a", b"b", b"c", b"d"]
        await reader.trim()
        for _ in range(2):
            await reader.forget_silent()
        assert await silent.write_as(1, b"a") is APPENDED  # it is forgotten

    async def test_who_is_forgotten_stays_barred(self, cluster: Cluster) -> None:
        reader, leases, registry = cluster.inbox_reader(IO1), cluster.leases(), cluster.registry()
        await registry.register_io_node(IO1, {})
        writer = Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1)
        await writer.write(b"a")
        lease = await leases.acquire(0, APP1, 1)
        assert lease is not None
        await leases.release(lease, settled=False)
        after = await leases.acquire(0, "app-bbbbbb", LONG_MS)
        assert after is not None
        assert await leases.bar_former([after]) == {APP1}
        for _ in range(2):
            await reader.forget_silent()
        assert await writer.write_as(2, b"b") is BARRED

    async def test_order_over_several_reads(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        writer = Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1)
        await writer.write(b"a", b"b")
        assert await reader.read(0) == [b"a", b"b"]
        assert await reader.read(1) == []
        await writer.write(b"c")
        assert await reader.read(BLOCK_MS) == [b"c"]

    async def test_a_blocked_read_wakes(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        reading = asyncio.create_task(reader.read(BLOCK_MS))
        await Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1).write(b"a")
        assert await reading == [b"a"]

    async def test_a_cancelled_read_loses_nothing(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        writer = Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1)
        await writer.write(b"a")
        assert await reader.read(0) == [b"a"]
        reading = asyncio.create_task(reader.read(BLOCK_MS))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await writer.write(b"b")
        assert await reader.read(BLOCK_MS) == [b"b"]

    async def test_trim_gives_bytes_back_for_what_was_read_alone(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        writer = Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1, max_bytes=10)
        assert await writer.write(b"12345") == [APPENDED]
        await reader.trim()
        assert await reader.read(0) == [b"12345"]
        assert await writer.write(b"6789") == [APPENDED]
        assert await writer.write_as(3, b"abcd") is FULL
        await reader.trim()
        await reader.trim()
        assert await writer.write_as(3, b"abcdefg") is FULL
        assert await writer.write_as(3, b"abcdef") is APPENDED
        assert await reader.read(0) == [b"6789", b"abcdef"]
        await reader.trim()
        assert await reader.read(0) == []

    async def test_a_late_reader_gets_what_came_before_it(self, cluster: Cluster) -> None:
        await Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1).write(b"a")
        assert await cluster.inbox_reader(IO1).read(0) == [b"a"]


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
        await first.commit(lease, ids(given)[:1])
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
        await first.commit(lease, ids(await first.read([0], 0, 10)))
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
        second, lease, claimed = await take_when_free(cluster, APP2)
        assert lease.token > old.token
        with pytest.raises(LeaseLost):
            await first.commit(old, [entry.id])
        with pytest.raises(LeaseLost):
            await first.set_aside(old, entry, "because")
        assert bodies(claimed) == [b"a"]
        await second.commit(lease, ids(claimed))

    async def test_ones_own_expired_lease_is_lost_too(self, cluster: Cluster) -> None:
        reader, old, _ = await take(cluster, APP1, lease_ms=50)
        await lane_writer(cluster).write(b"a")
        given = await reader.read([0], 0, 10)
        second, _, claimed = await take(cluster, APP1)
        assert ids(claimed) == ids(given)
        with pytest.raises(LeaseLost):
            await reader.commit(old, ids(given))
        assert await second.read([0], 1, 10) == []

    async def test_a_commit_may_be_repeated(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=20)
        await writer.write(b"x" * 10, b"y" * 10)
        entries = await reader.read([0], 0, 10)
        await reader.commit(lease, ids(entries)[:1])
        await reader.commit(lease, ids(entries)[:1])
        await reader.commit(lease, [])
        assert await writer.write_as(3, b"z" * 11) is FULL
        assert await writer.write_as(3, b"z" * 10) is APPENDED

    async def test_a_commit_of_very_many(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=2600)
        await asyncio.gather(*[writer.write_as(seq, b"x") for seq in range(1, 2501)])
        entries = []
        while found := await reader.read([0], 0, 1000):
            entries += found
        await reader.commit(lease, ids(entries))
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


class TestLeases:
    async def test_one_holder_at_a_time(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        lease = await acquire(leases, 3, APP1)
        assert await leases.acquire(3, APP2, LONG_MS) is None
        assert await leases.acquire(4, APP2, LONG_MS) is not None
        await leases.release(replace(lease, node_id=APP2))
        await leases.release(replace(lease, token=lease.token + 1))
        assert await leases.acquire(3, APP2, LONG_MS) is None
        await leases.release(lease)
        later = await acquire(leases, 3, APP2)
        assert later.token > lease.token

    async def test_renew_tells_what_is_still_ours(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        ours, given_back, old = [await acquire(leases, lane, APP1) for lane in (0, 1, 2)]
        await leases.release(given_back)
        await leases.acquire(1, APP2, LONG_MS)
        former = replace(old, token=old.token - 1)
        assert await leases.renew([ours, given_back, former, Lease(5, APP1, 1)], LONG_MS) == {0}
        assert await leases.renew([], LONG_MS) == set()

    async def test_a_renewed_lease_outlives_its_first_term(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        short = await acquire(leases, 0, APP1, 100)
        long = await acquire(leases, 1, APP1, 100)
        assert await leases.renew([long], LONG_MS) == {1}
        await take_when_free(cluster, APP2, 0)
        assert await leases.acquire(1, APP2, LONG_MS) is None
        assert await leases.renew([short, long], LONG_MS) == {1}


class TestFencing:
    """A process that was paused wakes up with an append half sent. By then its lane has another holder."""

    async def test_a_former_holder_is_barred_until_it_knows(self, cluster: Cluster) -> None:
        registry, leases, appender = cluster.registry(), cluster.leases(), cluster.appender()
        await registry.register_io_node(IO1, {})
        inbox = cluster.keys.inbox(IO1)
        await take(cluster, APP1, lease_ms=50)
        assert await appender.append([Append(inbox, APP1, 1, b"a", 1000)]) == [APPENDED]
        _, lease, _ = await take_when_free(cluster, APP2)
        assert await leases.bar_former([lease]) == {APP1}
        assert await appender.append([Append(inbox, APP1, 1, b"a", 1000)]) == [DUPLICATE]
        assert await appender.append([Append(inbox, APP1, 2, b"late", 1000)]) == [BARRED]
        assert await appender.append([Append(inbox, APP2, 1, b"b", 1000)]) == [APPENDED]
        assert await appender.bars([inbox], APP1) == [1]
        assert await appender.append([Append(inbox, APP1, 2, b"c", 1000, 1)]) == [APPENDED]
        assert await appender.append([Append(inbox, APP1, 3, b"late", 1000)]) == [BARRED]
        assert await cluster.inbox_reader(IO1).read(0) == [b"a", b"b", b"c"]
        assert await leases.bar_former([lease]) == set()

    async def test_one_that_released_is_not_barred(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        _, lease, _ = await take(cluster, APP1)
        await leases.release(lease)
        _, lease, _ = await take(cluster, APP2)
        assert await leases.bar_former([lease]) == set()

    async def test_one_whose_handlers_were_late_is(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        _, lease, _ = await take(cluster, APP1)
        await leases.release(lease, settled=False)
        _, lease, _ = await take(cluster, APP2)
        assert await leases.bar_former([lease]) == {APP1}

    async def test_a_holder_that_dies_before_it_bars_leaves_that_to_the_next(self, cluster: Cluster) -> None:
        await take(cluster, APP1, lease_ms=50)
        await take_when_free(cluster, APP2)
        _, lease, _ = await take(cluster, APP2, lease_ms=50)
        third = "app-cccccc"
        _, lease, _ = await take_when_free(cluster, third)
        assert await cluster.leases().bar_former([lease]) == {APP1, APP2}

    async def test_only_the_holder_says_who_is_barred(self, cluster: Cluster) -> None:
        leases = cluster.leases()
        await take(cluster, APP1, lease_ms=50)
        _, lease, _ = await take_when_free(cluster, APP2)
        assert await leases.bar_former([replace(lease, token=lease.token - 1)]) == {APP1}
        assert await leases.bar_former([lease]) == {APP1}
        assert await leases.bar_former([lease]) == set()

    async def test_an_app_node_that_is_forgotten_leaves_no_bar(self, cluster: Cluster) -> None:
        registry, appender = cluster.registry(), cluster.appender()
        await registry.register_io_node(IO1, {})
        await take(cluster, APP1, lease_ms=50)
        _, lease, _ = await take_when_free(cluster, APP2)
        await cluster.leases().bar_former([lease])
        inbox = cluster.keys.inbox(IO1)
        assert await appender.bars([inbox], APP1) == [1]
        await registry.unregister_app_node(APP1)
        assert await appender.bars([inbox], APP1) == [0]


class TestStart:
    async def test_nodes_of_one_configuration_start(self, cluster: Cluster) -> None:
        await cluster.new_bus().start()
        await cluster.new_bus().start()

    async def test_other_lanes_are_refused(self, cluster: Cluster) -> None:
        await cluster.new_bus().start()
        other = cluster.config.model_copy(update={"lanes": 8})
        with pytest.raises(ClusterMismatch, match="LANES is 8 here, but the cluster runs with 16"):
            await cluster.new_bus(other).start()
