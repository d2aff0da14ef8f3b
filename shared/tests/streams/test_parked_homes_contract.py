"""Homes whose io-node is gone, and their end, in memory and in Valkey alike."""

import pytest

from sio_cluster.protocol.errors import HomeLost
from sio_cluster.protocol.recovery import position_of
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.api.homes import AtHorizon
from sio_cluster.streams.api.inboxes import RoomOp
from sio_cluster.streams.api.records import Accepted, Ended
from sio_cluster.testing.contract import Cluster, read_bodies

from .holding import APP1, APP2, IO1, LONG_MS, acquire
from .homes import HASH, IO2, OTHER, SID, START, all_of, forget, opened, store, writer


class TestParked:
    async def test_it_is_registered_and_neither_alive_nor_lost(self, cluster: Cluster) -> None:
        await opened(cluster, b"a")
        registry, homes = cluster.registry(), cluster.homes()
        await registry.register_io_node(IO1, {})
        await registry.heartbeat(IO1, LONG_MS)
        await registry.retire_io_node(IO1)
        for _ in range(2):
            await homes.park(IO1, 100)
            assert await registry.registered_io_nodes() == await registry.parked_io_nodes() == [IO1]
            assert (await registry.io_nodes(), await registry.lost_io_nodes()) == ({}, [])
            assert not await registry.is_alive(IO1)
        assert await homes.horizon(IO1) == START

    async def test_one_that_nobody_ever_read_is_a_home_too(self, cluster: Cluster) -> None:
        await cluster.homes().park(IO1, 100)
        assert await writer(cluster).write(b"a") == [AppendResult.APPENDED]
        assert await all_of(cluster) == [b"a"]
        assert await cluster.homes().horizon(IO1) == START

    async def test_an_append_too_much_drops_the_oldest_and_nobody_knows_the_rooms(self, cluster: Cluster) -> None:
        await store(cluster, SID)
        reader, entries = await opened(cluster, b"12", b"345", b"6")
        await reader.trim()
        homes = cluster.homes()
        await homes.park(IO1, 8)
        more = writer(cluster, max_bytes=1, node_id=APP2)
        assert await more.write(b"78") == [AppendResult.APPENDED]
        assert await homes.rooms(IO1, SID, None) == AtHorizon(START, frozenset())
        assert await more.write(b"901") == [AppendResult.APPENDED]
        assert await all_of(cluster) == [b"6", b"78", b"901"]
        assert await homes.horizon(IO1) == entries[1].id
        assert await homes.rooms(IO1, SID, None) is None
        assert await more.write(b"ten characters and more") == [AppendResult.APPENDED]
        assert await all_of(cluster) == [b"ten characters and more"]
        assert await more.write_as(3, b"ten characters and more") is AppendResult.DUPLICATE

    async def test_it_is_kept_small_without_losing_rooms(self, cluster: Cluster) -> None:
        await store(cluster, SID)
        reader, entries = await opened(cluster, b"12", b"345", b"6")
        homes = cluster.homes()
        await reader.forget_log(entries[0].id, [RoomOp(SID, "x", True)])
        await homes.forget_parked(IO1, entries[1].id, [])  # it is not parked yet
        assert await homes.horizon(IO1) == entries[0].id
        await homes.park(IO1, 5)
        for _ in range(2):
            await homes.forget_parked(IO1, entries[1].id, [RoomOp(SID, "x", False), RoomOp(SID, "y", True)])
        assert await homes.rooms(IO1, SID, None) == AtHorizon(entries[1].id, frozenset({"y"}))
        assert await writer(cluster, node_id=APP2).write(b"7890") == [AppendResult.APPENDED]
        assert await all_of(cluster) == [b"6", b"7890"]
        assert await homes.rooms(IO1, SID, None) == AtHorizon(entries[1].id, frozenset({"y"}))

    async def test_entries_that_nobody_can_read_leave_the_rooms_unknown(self, cluster: Cluster) -> None:
        await store(cluster, SID)
        _, entries = await opened(cluster, b"a", b"b")
        homes = cluster.homes()
        await homes.park(IO1, 100)
        await homes.forget_parked(IO1, entries[0].id, None)
        assert await homes.rooms(IO1, SID, None) is None
        assert await homes.rooms(IO1, SID, position_of(entries[0].id, 0)) is None
        assert await homes.rooms(IO1, SID, position_of(entries[1].id, 0)) == AtHorizon(entries[0].id, frozenset())
        assert await homes.horizon(IO1) == entries[0].id
        assert await all_of(cluster) == [b"b"]

    async def test_a_former_holder_of_a_lane_is_barred_from_it(self, cluster: Cluster) -> None:
        await opened(cluster)
        await cluster.homes().park(IO1, 100)
        leases, late = cluster.leases(), writer(cluster)
        await leases.release(await acquire(leases, 0, APP1), settled=False)
        assert await leases.bar_former([await acquire(leases, 0, APP2)]) == {APP1}
        assert await late.write(b"a") == [AppendResult.BARRED]
        assert await all_of(cluster) == []

    async def test_an_app_node_that_goes_is_forgotten_there(self, cluster: Cluster) -> None:
        await opened(cluster)
        await cluster.homes().park(IO1, 100)
        await writer(cluster).write(b"a")
        await cluster.registry().unregister_app_node(APP1)
        assert await writer(cluster).write(b"b") == [AppendResult.APPENDED]

    async def test_who_is_silent_is_forgotten_there(self, cluster: Cluster) -> None:
        """Such as a program that only emits, and has ended without a word."""
        await opened(cluster)
        homes = cluster.homes()
        await homes.park(IO1, 100)
        silent, busy = writer(cluster), writer(cluster, node_id=APP2)
        await silent.write(b"a")
        await busy.write(b"b")
        before = await homes.forget_silent(IO1, {})
        assert before == {APP1: 1, APP2: 1}
        await busy.write(b"c")
        assert await silent.write_as(1, b"a") is AppendResult.DUPLICATE
        await homes.forget_silent(IO1, before)
        assert await busy.write_as(2, b"c") is AppendResult.DUPLICATE
        assert await homes.forget_silent(IO1, {}) == {APP2: 2}

    async def test_its_io_node_may_come_back(self, cluster: Cluster) -> None:
        """It was paused for longer than its time-out, and reads on where it was."""
        reader, _ = await opened(cluster, b"aaa")
        registry, homes = cluster.registry(), cluster.homes()
        await homes.park(IO1, 10)
        await writer(cluster, node_id=APP2).write(b"bbbb")
        await registry.register_io_node(IO1, {})
        await registry.heartbeat(IO1, LONG_MS)
        assert (await registry.parked_io_nodes(), set(await registry.io_nodes())) == ([], {IO1})
        assert not await homes.end(IO1)
        small = writer(cluster, max_bytes=10, node_id="app-cccccc")
        assert await small.write_as(1, b"cccc") is AppendResult.FULL
        assert await read_bodies(reader, 0) == [b"bbbb"]
        await reader.trim()
        assert await small.write_as(1, b"cccc") is AppendResult.APPENDED
        assert await all_of(cluster) == [b"aaa", b"bbbb", b"cccc"]

    async def test_what_was_forgotten_meanwhile_holds_no_bytes_when_its_io_node_comes_back(
        self, cluster: Cluster
    ) -> None:
        reader, _ = await opened(cluster, b"aaa")
        await reader.trim()
        homes, held, inbox = cluster.homes(), cluster.appender().held_bytes, [cluster.keys.inbox(IO1)]
        await homes.park(IO1, 100)
        await writer(cluster, node_id=APP2).write(b"bbbb", b"cc")
        [_, second, _] = await homes.page(IO1, START)
        await homes.forget_parked(IO1, second.id, [])
        await cluster.registry().register_io_node(IO1, {})
        assert await held(inbox) == [2]
        assert await read_bodies(reader, 0) == [b"cc"]
        await reader.trim()
        assert await held(inbox) == [0]

    async def test_what_it_dropped_stays_unknown_when_its_io_node_comes_back(self, cluster: Cluster) -> None:
        await store(cluster, SID)
        await opened(cluster, b"aaa")
        homes = cluster.homes()
        await homes.park(IO1, 2)
        await writer(cluster, node_id=APP2).write(b"bb")
        await cluster.registry().register_io_node(IO1, {})
        await store(cluster, OTHER)
        horizon = await homes.horizon(IO1)
        assert horizon is not None
        assert await homes.rooms(IO1, SID, None) is None
        [entry] = await homes.page(IO1, horizon)
        assert await homes.rooms(IO1, OTHER, position_of(horizon, 9)) is None
        assert await homes.rooms(IO1, OTHER, position_of(entry.id, 0)) == AtHorizon(horizon, frozenset())


class TestEnd:
    async def test_it_ends_when_it_has_no_client_any_more(self, cluster: Cluster) -> None:
        sids = [f"{IO1}.{number:016d}" for number in range(4)]
        await store(cluster, *sids)
        _, entries = await opened(cluster, b"a")
        records, homes, registry = cluster.records(), cluster.homes(), cluster.registry()
        await records.update([Accepted(sid) for sid in sids])
        assert not await homes.end(IO1)  # nobody has parked it
        await homes.park(IO1, 100)
        await forget(cluster, sids[0], keep_ms=LONG_MS)
        await records.claim(sids[1], "/", HASH, IO2)
        await forget(cluster, sids[2])
        for left in (sids[3], sids[0]):  # the disconnect of the one waits in its lane, the other is away
            assert not await homes.end(IO1)
            await forget(cluster, left)
        assert not await homes.end(IO1)  # another io-node holds the last one
        assert await all_of(cluster) == [b"a"]
        await records.forget([Ended(sids[1], 1)])
        assert await homes.end(IO1)
        assert not await homes.end(IO1)
        assert await registry.registered_io_nodes() == await registry.parked_io_nodes() == []
        assert await homes.horizon(IO1) is None
        assert await homes.page(IO1, START) == []
        assert await records.clients_of(IO1) == []
        with pytest.raises(HomeLost):
            await homes.tail(IO1, entries[0].id).read(0)

    async def test_a_home_that_was_never_there(self, cluster: Cluster) -> None:
        assert not await cluster.homes().end(IO1)
        await cluster.homes().forget_parked(IO1, b"7-0", [])
        assert await cluster.homes().horizon(IO1) is None
