"""The inbox of one process, in memory and in Valkey alike."""

import asyncio

from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.testing.contract import Cluster, Writer, read_bodies

from .holding import APP1, BLOCK_MS, IO1, LONG_MS

APPENDED, DUPLICATE, FULL = AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL
BARRED = AppendResult.BARRED


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
        assert await read_bodies(reader, 0) == [b"a", b"b", b"c", b"d"]
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
        assert await read_bodies(reader, 0) == [b"a", b"b"]
        assert await read_bodies(reader, 1) == []
        await writer.write(b"c")
        assert await read_bodies(reader, BLOCK_MS) == [b"c"]

    async def test_a_blocked_read_wakes(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        reading = asyncio.create_task(read_bodies(reader, BLOCK_MS))
        await Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1).write(b"a")
        assert await reading == [b"a"]

    async def test_a_cancelled_read_loses_nothing(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        writer = Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1)
        await writer.write(b"a")
        assert await read_bodies(reader, 0) == [b"a"]
        reading = asyncio.create_task(read_bodies(reader, BLOCK_MS))
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await writer.write(b"b")
        assert await read_bodies(reader, BLOCK_MS) == [b"b"]

    async def test_trim_gives_bytes_back_for_what_was_read_alone(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        writer = Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1, max_bytes=10)
        assert await writer.write(b"12345") == [APPENDED]
        await reader.trim()
        assert await read_bodies(reader, 0) == [b"12345"]
        assert await writer.write(b"6789") == [APPENDED]
        assert await writer.write_as(3, b"abcd") is FULL
        await reader.trim()
        await reader.trim()
        assert await writer.write_as(3, b"abcdefg") is FULL
        assert await writer.write_as(3, b"abcdef") is APPENDED
        assert await read_bodies(reader, 0) == [b"6789", b"abcdef"]
        await reader.trim()
        assert await read_bodies(reader, 0) == []

    async def test_a_late_reader_gets_what_came_before_it(self, cluster: Cluster) -> None:
        await Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1).write(b"a")
        assert await read_bodies(cluster.inbox_reader(IO1), 0) == [b"a"]
