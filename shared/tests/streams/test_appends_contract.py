"""Appends and commits, in memory and in Valkey alike: each entry once, no more than fits, and all in one step."""

import asyncio
from dataclasses import replace

import pytest

from sio_cluster.streams.api.appends import COMMIT_IDS, FLUSH_BYTES, Append, AppendResult, Commit, Flushed
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.memory import MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Cluster, commit

from .holding import APP1, APP2, BLOCK_MS, IO1, acquire, bodies, lane_writer, take

APPENDED, DUPLICATE, FULL = AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL
BARRED = AppendResult.BARRED


class Tick:
    """Two lanes with an entry each, and an inbox: what a flush of their holder touches."""

    def __init__(self, cluster: Cluster) -> None:
        self.appender, self.inbox = cluster.appender(), cluster.keys.inbox(IO1)
        self._cluster = cluster

    async def begin(self) -> "Tick":
        self.reader, self.lease, _ = await take(self._cluster, APP1, 0)
        self.other = await acquire(self._cluster.leases(), 1, APP1)
        await self.reader.claim(1)
        for lane in (0, 1):
            await lane_writer(self._cluster, lane).write(b"event")
        entries = await self.reader.read([0, 1], 0, 10)
        self.commits = [Commit(self.of(entry.lane), [entry.id], len(entry.entry)) for entry in entries]
        return self

    def of(self, lane: int) -> Lease:
        return self.other if lane else self.lease

    def output(self, seq: int = 1, entry: bytes = b"answer", max_bytes: int = 1 << 20) -> Append:
        return Append(self.inbox, APP1, seq, entry, max_bytes)

    async def held(self) -> list[int]:
        """Bytes in both lanes and in the inbox."""
        lanes = [self._cluster.keys.uplink(lane) for lane in (0, 1)]
        return await self.appender.held_bytes([*lanes, self.inbox])


class TestFlush:
    async def test_what_is_done_goes_when_its_output_comes(self, cluster: Cluster) -> None:
        tick = await Tick(cluster).begin()
        assert await tick.held() == [5, 5, 0]
        assert await tick.appender.flush([tick.output()], tick.commits) == Flushed([], [APPENDED], committed=True)
        assert await tick.held() == [0, 0, 6]
        assert await tick.reader.peek(0) == []
        assert await tick.reader.peek(1) == []

    async def test_it_may_be_repeated(self, cluster: Cluster) -> None:
        tick = await Tick(cluster).begin()
        await lane_writer(cluster).write_as(2, b"later")
        for result in (APPENDED, DUPLICATE, DUPLICATE):
            assert await tick.appender.flush([tick.output()], tick.commits) == Flushed([], [result], committed=True)
            assert await tick.held() == [5, 0, 6]

    @pytest.mark.parametrize(("size", "steps"), [(6, "one"), (FLUSH_BYTES, "one"), (FLUSH_BYTES + 1, "two")])
    async def test_output_of_any_size(self, cluster: Cluster, size: int, steps: str) -> None:
        tick = await Tick(cluster).begin()
        output = tick.output(entry=b"x" * size, max_bytes=2 * FLUSH_BYTES)
        assert await tick.appender.flush([output], tick.commits) == Flushed([], [APPENDED], committed=True), steps
        assert await tick.held() == [0, 0, size]

    @pytest.mark.parametrize("many", [False, True])
    async def test_without_room_for_all_output_nothing_is_committed(self, cluster: Cluster, many: bool) -> None:
        """What there is room for is written."""
        tick = await Tick(cluster).begin()
        other = Append(cluster.keys.inbox("io2-aaaaaa"), APP1, 1, b"x" * (FLUSH_BYTES if many else 1), 2 * FLUSH_BYTES)
        assert await tick.appender.append([tick.output(1)]) == [APPENDED]
        flushed = await tick.appender.flush([tick.output(2, max_bytes=7), other], tick.commits)
        assert flushed == Flushed([], [FULL, APPENDED], committed=False)
        assert await tick.held() == [5, 5, 6]
        flushed = await tick.appender.flush([tick.output(2), other], tick.commits)
        assert flushed == Flushed([], [APPENDED, DUPLICATE], committed=True)
        assert await tick.held() == [0, 0, 12]

    async def test_one_that_was_barred_commits_nothing(self, cluster: Cluster) -> None:
        tick = await Tick(cluster).begin()
        await cluster.registry().register_io_node(IO1, {})
        leases = cluster.leases()
        await leases.release(tick.other, settled=False)
        assert await leases.bar_former([await acquire(leases, 1, APP2)]) == {APP1}
        mine = tick.commits[:1]
        assert await tick.appender.flush([tick.output()], mine) == Flushed([], [BARRED], committed=False)
        assert await tick.held() == [5, 5, 0]
        aware = replace(tick.output(), bar=1)
        assert await tick.appender.flush([aware], mine) == Flushed([], [APPENDED], committed=True)
        assert await tick.held() == [0, 5, 6]

    async def test_with_a_lost_lease_nothing_happens(self, cluster: Cluster) -> None:
        tick = await Tick(cluster).begin()
        await cluster.leases().release(tick.other)
        await acquire(cluster.leases(), 1, APP2)
        assert await tick.appender.flush([tick.output()], tick.commits) == Flushed([tick.other], [], committed=False)
        assert await tick.held() == [5, 5, 0]
        mine = [commit for commit in tick.commits if commit.lease == tick.lease]
        assert await tick.appender.flush([tick.output()], mine) == Flushed([], [APPENDED], committed=True)
        assert await tick.held() == [0, 5, 6]

    async def test_much_output_and_a_lost_lease(self, cluster: Cluster) -> None:
        """It is written, since it is a step of its own."""
        tick = await Tick(cluster).begin()
        await cluster.leases().release(tick.other)
        output = tick.output(entry=b"x" * (FLUSH_BYTES + 1), max_bytes=2 * FLUSH_BYTES)
        flushed = await tick.appender.flush([output], tick.commits)
        assert flushed == Flushed([tick.other], [APPENDED], committed=False)
        assert (await tick.held())[:2] == [5, 5]

    async def test_the_next_holder_knows_which_facts_are_done(self, cluster: Cluster) -> None:
        tick = await Tick(cluster).begin()
        [first] = tick.commits[0].ids
        for seq, numbers in ((1, [0, 7]), (1, [0, 7]), (2, [12])):  # the second is a retry
            notes = [Commit(tick.lease, [], 0, notes=[(first, numbers)]), tick.commits[1]]
            assert (await tick.appender.flush([tick.output(seq)], notes)).committed
        await cluster.leases().release(tick.lease, settled=False)
        _, lease, [claimed] = await take(cluster, APP2)
        assert (claimed.id, claimed.done) == (first, frozenset({0, 7, 12}))
        done = Commit(lease, [first], 5, noted=[first])
        assert (await tick.appender.flush([], [done])).committed
        assert await tick.held() == [0, 0, 12]
        assert await done_notes(cluster) == 0

    async def test_without_room_nothing_is_noted(self, cluster: Cluster) -> None:
        tick = await Tick(cluster).begin()
        await tick.appender.append([tick.output()])
        note = Commit(tick.lease, [], 0, notes=[(tick.commits[0].ids[0], [1])])
        flushed = await tick.appender.flush([tick.output(2, max_bytes=7)], [note])
        assert flushed == Flushed([], [FULL], committed=False)
        assert [entry.done for entry in (await tick.reader.claim(0)).entries] == []
        await cluster.leases().release(tick.lease, settled=False)
        _, _, [claimed] = await take(cluster, APP2)
        assert claimed.done == set()

    @pytest.mark.parametrize("how", ["quarantined", "set aside"])
    async def test_notes_go_with_their_entry(self, cluster: Cluster, how: str) -> None:
        tick = await Tick(cluster).begin()
        [entry] = await tick.reader.peek(0)
        await tick.appender.flush([], [Commit(tick.lease, [], 0, notes=[(entry.id, [0])])])
        if how == "quarantined":
            await tick.reader.quarantine(tick.lease, [(entry.id, [b"part"])])
        else:
            await tick.reader.set_aside(tick.lease, entry, "why")
        assert await tick.reader.peek(0) == []
        assert await done_notes(cluster) == 0

    async def test_nothing_to_flush(self, cluster: Cluster) -> None:
        assert await cluster.appender().flush([], []) == Flushed([], [], committed=True)

    async def test_what_does_not_fit_into_one_call(self, cluster: Cluster) -> None:
        tick = await Tick(cluster).begin()
        [first, _] = tick.commits
        for commits in ([first, first], [replace(first, ids=[])], [replace(first, ids=[b"1-1"] * (COMMIT_IDS + 1))]):
            with pytest.raises(ValueError, match="commit"):
                await tick.appender.flush([], commits)
        with pytest.raises(ValueError, match="append"):
            await tick.appender.flush([tick.output(), tick.output()], [])
        assert await tick.held() == [5, 5, 0]


async def done_notes(cluster: Cluster) -> int:
    """Of how many entries of lane 0 Redis, or what stands in for it, knows facts that are done."""
    bus = cluster.new_bus()
    if isinstance(bus, MemoryBus):
        return len(bus.broker.streams[bus.keys.uplink(0)].done)
    assert isinstance(bus, RedisBus)
    [number] = await bus.connections.run(("HLEN", bus.keys.done(0)))
    return int(number)


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
        await commit(cluster.appender(), lease, *await reader.read([0], 0, 10))
        assert await writer.write_as(1, b"a") is DUPLICATE
        assert await reader.read([0], 0, 10) == []

    async def test_each_sender_and_each_stream_counts_for_itself(self, cluster: Cluster) -> None:
        appender, keys = cluster.appender(), cluster.keys
        first = Append(keys.uplink(0), IO1, 7, b"a", 1000)
        other_stream = Append(keys.uplink(1), IO1, 7, b"a", 1000)
        other_sender = Append(keys.uplink(0), "io2-aaaaaa", 7, b"a", 1000)
        assert await appender.append([first, other_stream]) == [APPENDED, APPENDED]
        assert await appender.append([other_sender]) == [APPENDED]

    async def test_what_is_appended_together_comes_together(self, cluster: Cluster) -> None:
        """One read that waits brings all of it: else each tick of an io-node would be two of an app-node."""
        lanes = range(4)
        leases = cluster.leases()
        for lane in lanes:
            await acquire(leases, lane, APP1)
        reader = cluster.lane_reader(APP1)
        for lane in lanes:
            await reader.claim(lane)
        assert await reader.read(lanes, 1, 10) == []
        waiting = asyncio.create_task(reader.read(lanes, BLOCK_MS, 10))
        await asyncio.sleep(0.02)  # that is right for a read that does not wait yet, too
        appends = [Append(cluster.keys.uplink(lane), IO1, lane + 1, b"%d" % lane, 1000) for lane in lanes]
        assert await cluster.appender().append(appends) == [APPENDED] * 4
        assert sorted(bodies(await waiting)) == [b"0", b"1", b"2", b"3"]

    async def test_each_has_its_own_result_however_many_bytes_they_are(self, cluster: Cluster) -> None:
        """More than FLUSH_BYTES are appended in several steps."""
        appender, keys = cluster.appender(), cluster.keys
        small, large = b"x", b"x" * (FLUSH_BYTES // 2)
        await appender.append([Append(keys.uplink(1), IO1, 1, small, 1000)])
        appends = [
            Append(keys.uplink(lane), IO1, 1 if lane == 3 else 2, entry, 1000 if lane == 1 else 2 * FLUSH_BYTES)
            for lane, entry in enumerate([large, large, small, large, b"x" * (FLUSH_BYTES + 1), small])
        ]
        await appender.append([appends[3]])
        results = [APPENDED, FULL, APPENDED, DUPLICATE, APPENDED, APPENDED]
        assert await appender.append(appends) == results
        again = [result if result is FULL else DUPLICATE for result in results]
        assert await appender.append(appends) == again
        held = [len(large), 1, 1, len(large), FLUSH_BYTES + 1, 1]
        assert await appender.held_bytes([append.stream for append in appends]) == held

    async def test_full_has_no_effect_and_ends_with_a_commit(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=10)
        assert await writer.write_as(1, b"12345678") is APPENDED
        assert await writer.write_as(2, b"345") is FULL
        assert await writer.write_as(2, b"34") is APPENDED
        assert await writer.write_as(3, b"5") is FULL
        entries = await reader.read([0], 0, 10)
        assert bodies(entries) == [b"12345678", b"34"]
        await commit(cluster.appender(), lease, *entries[:1])
        assert await writer.write_as(3, b"123456789") is FULL
        assert await writer.write_as(3, b"12345678") is APPENDED

    async def test_an_empty_stream_takes_an_entry_of_any_size(self, cluster: Cluster) -> None:
        reader, lease, _ = await take(cluster, APP1)
        writer = lane_writer(cluster, max_bytes=10)
        for round_number in range(3):
            assert await writer.write(b"x" * 100) == [APPENDED], round_number
            assert await writer.write_as(writer.seq + 1, b"y") is FULL
            await commit(cluster.appender(), lease, *await reader.read([0], 0, 10))

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
        await commit(cluster.appender(), lease, first)
        assert await appender.held_bytes(streams) == [3, 0]

    async def test_nothing_to_append(self, cluster: Cluster) -> None:
        assert await cluster.appender().append([]) == []
