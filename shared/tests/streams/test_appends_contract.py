"""Appends, in memory and in Valkey alike: each entry once, and no more than fits."""

import pytest

from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.testing.contract import Cluster

from .holding import APP1, IO1, bodies, ids, lane_writer, take

APPENDED, DUPLICATE, FULL = AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL
BARRED = AppendResult.BARRED


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
