"""The logs of homes, in memory and in Valkey alike."""

import asyncio

import pytest

from sio_cluster.protocol.errors import HomeLost
from sio_cluster.protocol.messages import LEVEL, ClientConnected, Handshake
from sio_cluster.protocol.recovery import position_of
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.api.homes import AtHorizon, HomeTail
from sio_cluster.streams.api.inboxes import InboxEntry, InboxReader, RoomOp
from sio_cluster.streams.api.records import Accepted, Ended
from sio_cluster.testing.contract import Cluster, Writer, read_bodies

from .holding import APP1, APP2, BLOCK_MS, IO1, LONG_MS, acquire

IO2 = "io2-aaaaaa"
SID, OTHER = f"{IO1}.{1:016d}", f"{IO1}.{2:016d}"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)
HASH = b"h" * 32
START = b"0-0"


def writer(cluster: Cluster, home: str = IO1, max_bytes: int = 1 << 20, node_id: str = APP1) -> Writer:
    return Writer(cluster.appender(), cluster.keys.inbox(home), node_id, max_bytes)


async def opened(cluster: Cluster, *entries: bytes, home: str = IO1) -> tuple[InboxReader, list[InboxEntry]]:
    """A home whose reader has read these entries."""
    reader = cluster.inbox_reader(home, keeps_log=True)
    await writer(cluster, home).write(*entries)
    return reader, await reader.read(0)


async def store(cluster: Cluster, *sids: str) -> None:
    await cluster.records().store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling", HASH) for sid in sids])


async def forget(cluster: Cluster, *sids: str, keep_ms: int = 0) -> None:
    await cluster.records().forget([Ended(sid, 0, keep_ms) for sid in sids])


def bodies(entries: list[InboxEntry]) -> list[bytes]:
    return [entry.entry for entry in entries]


async def all_of(cluster: Cluster, home: str = IO1, after: bytes = START) -> list[bytes]:
    """The whole log, read by pages of two."""
    found: list[InboxEntry] = []
    while page := await cluster.homes().page(home, after, 2):
        assert len(page) <= 2
        found += page
        after = page[-1].id
    return bodies(found)


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
