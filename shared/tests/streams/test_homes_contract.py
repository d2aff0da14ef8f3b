"""The logs of homes, in memory and in Valkey alike."""

import asyncio

import pytest

from sio_cluster.protocol.errors import HomeLost
from sio_cluster.protocol.messages import LEVEL
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.api.homes import AtHorizon, HomeTail
from sio_cluster.streams.api.inboxes import RoomOp
from sio_cluster.streams.api.records import Accepted
from sio_cluster.testing.contract import Cluster, read_bodies

from .holding import APP1, APP2, BLOCK_MS, IO1, LONG_MS
from .homes import HASH, IO2, OTHER, SID, START, all_of, bodies, forget, opened, store, writer


class TestLog:
    async def test_there_is_no_home_before_its_reader_has_read(self, cluster: Cluster) -> None:
        homes = cluster.homes()
        await writer(cluster).write(b"a")
        assert await homes.horizon(IO1) is None
        assert await homes.rooms(IO1, SID, None) is None
        await cluster.inbox_reader(IO1, keeps_log=True).read(0)
        assert await homes.horizon(IO1) == START
        assert await homes.rooms(IO1, SID, None) == AtHorizon(START, frozenset())
        assert await homes.page(IO2, START) == []
        assert await homes.absent(IO2) == []

    async def test_ids_rise_and_are_those_of_the_log(self, cluster: Cluster) -> None:
        reader, entries = await opened(cluster, b"a", b"b")
        assert bodies(entries) == [b"a", b"b"]
        assert await cluster.homes().page(IO1, START) == entries
        assert await cluster.homes().page(IO1, entries[0].id) == entries[1:]
        await writer(cluster, node_id=APP2).write(b"c")
        [third] = await reader.read(BLOCK_MS)
        places = [tuple(map(int, entry.id.split(b"-"))) for entry in (*entries, third)]
        assert places == sorted(set(places))

    async def test_what_was_read_stays_and_its_bytes_are_given_back(self, cluster: Cluster) -> None:
        reader, _ = await opened(cluster, b"12345")
        small = writer(cluster, max_bytes=6, node_id=APP2)
        assert await small.write_as(1, b"67") is AppendResult.FULL
        await reader.trim()
        await reader.trim()
        assert await small.write_as(1, b"67") is AppendResult.APPENDED
        assert await small.write_as(2, b"89012") is AppendResult.FULL
        assert await all_of(cluster) == [b"12345", b"67"]
        assert await cluster.appender().held_bytes([cluster.keys.inbox(IO1)]) == [2]

    async def test_the_log_is_forgotten_up_to_its_horizon(self, cluster: Cluster) -> None:
        reader, entries = await opened(cluster, b"a", b"b", b"c", b"d")
        await reader.trim()
        await reader.forget_log(entries[2].id, [])
        assert await cluster.homes().horizon(IO1) == entries[2].id
        assert await all_of(cluster) == [b"d"]
        await reader.forget_log(entries[1].id, [])  # later, and with an older id
        assert await cluster.homes().horizon(IO1) == entries[2].id
        await writer(cluster, node_id=APP2).write(b"e")
        assert await read_bodies(reader, BLOCK_MS) == [b"e"]

    async def test_bytes_are_right_whether_the_log_is_forgotten_before_or_after_a_trim(self, cluster: Cluster) -> None:
        reader, entries = await opened(cluster, b"aaa", b"bb", b"c")
        held, inbox = cluster.appender().held_bytes, [cluster.keys.inbox(IO1)]
        await reader.forget_log(entries[1].id, [])
        await writer(cluster, node_id=APP2).write(b"dddd")
        await reader.trim()
        assert await held(inbox) == [4]
        assert await read_bodies(reader, 0) == [b"dddd"]
        await reader.trim()
        assert await held(inbox) == [0]
        await reader.forget_log(entries[2].id, [])
        assert await held(inbox) == [0]
        assert await all_of(cluster) == [b"dddd"]

    async def test_a_reader_that_keeps_no_log_removes_what_it_read(self, cluster: Cluster) -> None:
        reader = cluster.inbox_reader(IO1)
        await writer(cluster).write(b"a")
        await reader.read(0)
        await reader.trim()
        assert await all_of(cluster) == []


class TestRoomsAtTheHorizon:
    async def test_they_are_what_the_entries_that_went_said(self, cluster: Cluster) -> None:
        await store(cluster, SID, OTHER)
        reader, entries = await opened(cluster, b"a", b"b", b"c")
        homes = cluster.homes()
        await reader.forget_log(
            entries[0].id,
            [RoomOp(SID, 42, True), RoomOp(SID, "42", True), RoomOp(SID, "x", True), RoomOp(OTHER, "y", True)],
        )
        assert await homes.rooms(IO1, SID, None) == AtHorizon(entries[0].id, frozenset({42, "42", "x"}))
        await reader.forget_log(
            entries[1].id, [RoomOp(SID, 42, False), RoomOp(SID, "x", False), RoomOp(SID, "x", True)]
        )
        assert await homes.rooms(IO1, SID, None) == AtHorizon(entries[1].id, frozenset({"42", "x"}))
        assert await homes.rooms(IO1, OTHER, None) == AtHorizon(entries[1].id, frozenset({"y"}))

    async def test_forgetting_the_same_again_does_nothing(self, cluster: Cluster) -> None:
        await store(cluster, SID)
        reader, entries = await opened(cluster, b"a", b"b")
        await reader.forget_log(entries[0].id, [RoomOp(SID, "x", True)])
        await reader.forget_log(entries[1].id, [RoomOp(SID, "x", False)])
        await reader.forget_log(entries[1].id, [RoomOp(SID, "x", True)])
        await reader.forget_log(entries[0].id, [RoomOp(SID, "x", True)])
        assert await cluster.homes().rooms(IO1, SID, None) == AtHorizon(entries[1].id, frozenset())

    async def test_who_is_gone_for_good_has_none_and_gets_none(self, cluster: Cluster) -> None:
        await store(cluster, SID, OTHER)
        reader, entries = await opened(cluster, b"a", b"b")
        homes, unknown = cluster.homes(), f"{IO2}.{1:016d}"
        await reader.forget_log(entries[0].id, [RoomOp(SID, "x", True), RoomOp(OTHER, "x", True)])
        await forget(cluster, SID)
        assert await homes.rooms(IO1, SID, None) == AtHorizon(entries[0].id, frozenset())
        await reader.forget_log(entries[1].id, [RoomOp(SID, "y", True), RoomOp(unknown, "y", True)])
        assert await homes.rooms(IO1, SID, None) == AtHorizon(entries[1].id, frozenset())
        assert await homes.rooms(IO1, unknown, None) == AtHorizon(entries[1].id, frozenset())
        assert await homes.rooms(IO1, OTHER, None) == AtHorizon(entries[1].id, frozenset({"x"}))

    async def test_those_of_an_absent_client_are_kept(self, cluster: Cluster) -> None:
        await store(cluster, SID, OTHER)
        reader, entries = await opened(cluster, b"a", b"b")
        records, homes = cluster.records(), cluster.homes()
        await records.update([Accepted(SID), Accepted(OTHER)])
        assert await homes.absent(IO1) == []
        await forget(cluster, SID, keep_ms=LONG_MS)
        await records.claim(OTHER, "/", HASH, IO2)
        assert sorted(await homes.absent(IO1)) == [SID, OTHER]
        await reader.forget_log(entries[0].id, [RoomOp(SID, "x", True), RoomOp(OTHER, "y", True)])
        assert await homes.rooms(IO1, SID, None) == AtHorizon(entries[0].id, frozenset({"x"}))
        assert await homes.rooms(IO1, OTHER, None) == AtHorizon(entries[0].id, frozenset({"y"}))
        await records.claim(OTHER, "/", HASH, IO1)
        assert await homes.absent(IO1) == [SID]
        await reader.forget_log(entries[1].id, [RoomOp(OTHER, "z", True)])
        assert await homes.rooms(IO1, OTHER, None) == AtHorizon(entries[1].id, frozenset({"y", "z"}))


class TestTail:
    async def test_it_reads_in_order_from_its_place_and_removes_nothing(self, cluster: Cluster) -> None:
        reader, entries = await opened(cluster, b"a", b"b", b"c")
        tail = cluster.homes().tail(IO1, entries[0].id)
        assert await tail.read(0) == entries[1:]
        assert await tail.read(1) == []
        reading = asyncio.create_task(tail.read(BLOCK_MS))
        await asyncio.sleep(0)
        await writer(cluster, node_id=APP2).write(b"d")
        assert bodies(await reading) == [b"d"]
        assert await read_bodies(reader, 0) == [b"d"]
        await reader.trim()
        assert await all_of(cluster) == [b"a", b"b", b"c", b"d"]
        await tail.close()
        await tail.close()

    async def test_a_place_at_the_horizon_has_lost_nothing(self, cluster: Cluster) -> None:
        reader, entries = await opened(cluster, b"a", b"b")
        tail = cluster.homes().tail(IO1, entries[0].id)
        await reader.forget_log(entries[0].id, [])
        assert await tail.read(0) == entries[1:]
        await reader.forget_log(entries[1].id, [])
        assert await tail.read(0) == []

    async def test_a_place_behind_the_horizon_is_lost(self, cluster: Cluster) -> None:
        reader, entries = await opened(cluster, b"a", b"b", b"c")
        homes = cluster.homes()
        late, reading = homes.tail(IO1, START), homes.tail(IO1, entries[0].id)
        await reader.forget_log(entries[1].id, [])
        for tail in (late, reading, reading):
            with pytest.raises(HomeLost):
                await tail.read(0)

    async def test_one_that_waits_learns_within_a_second_or_so_that_its_home_is_gone(self, cluster: Cluster) -> None:
        _, entries = await opened(cluster, b"a")
        tails: list[HomeTail] = [cluster.homes().tail(IO1, entries[0].id), cluster.homes().tail(IO2, START)]
        waits = asyncio.create_task(tails[0].read(60_000))
        await asyncio.sleep(0.05)
        await cluster.registry().unregister_io_node(IO1)
        async with asyncio.timeout(5):
            for outcome in (waits, asyncio.create_task(tails[1].read(0))):
                with pytest.raises(HomeLost):
                    await outcome


class TestLevel:
    async def test_it_is_that_of_the_oldest_node(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        assert await registry.level() == LEVEL
        await registry.register_io_node(IO1, {"level": "3"})
        assert await registry.level() == 3
        await registry.register_app_node(APP1, {"level": "2"})
        assert await registry.level() == 2
        await registry.register_io_node(IO2, {"clients": "4"})
        assert await registry.level() == 1
        await registry.unregister_io_node(IO2)
        assert await registry.level() == 2
