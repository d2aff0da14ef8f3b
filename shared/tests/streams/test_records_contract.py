"""Client records, in memory and in Valkey alike."""

import pytest

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import (
    Accepted,
    ChangeResult,
    ClientRecord,
    ClientRecords,
    Ended,
    Joined,
    Left,
    RecordChange,
    Upgraded,
    io_node_of,
)
from sio_cluster.streams.api.selections import Selection
from sio_cluster.testing.contract import Cluster

APP1, IO1, IO2 = "app-aaaaaa", "io1-aaaaaa", "io2-aaaaaa"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)


def connected(number: int, node: str = IO1, namespace: str = "/") -> ClientConnected:
    sid = f"{node}.{number:016d}"
    return ClientConnected(sid, "c1", namespace, b'{"token":1}', HANDSHAKE, "polling")


async def loaded(records: ClientRecords, sid: str) -> ClientRecord:
    """The record of a client that is there."""
    record = await records.load(sid)
    assert record is not None
    return record


class TestRecords:
    async def test_what_was_stored_comes_back(self, cluster: Cluster) -> None:
        records = cluster.records()
        client = connected(1)
        await records.store([client, connected(2)])
        record = await cluster.records().load(client.sid)
        assert record is not None
        assert record.connected == client
        assert (record.session, record.rooms, record.accepted, record.transport) == (None, set(), False, "polling")
        assert await records.load(connected(3).sid) is None

    async def test_rooms_keep_their_type(self, cluster: Cluster) -> None:
        records, sid = cluster.records(), connected(1).sid
        await records.store([connected(1)])
        await records.update(
            [Joined(sid, "/", 42), Joined(sid, "/", "42"), Joined(sid, "/", "ключ \x00"), Joined(sid, "/", -(2**63))]
        )
        record = await records.load(sid)
        assert record is not None
        assert {(type(room), room) for room in record.rooms} == {
            (int, 42),
            (str, "42"),
            (str, "ключ \x00"),
            (int, -(2**63)),
        }

    async def test_changes_apply_in_order(self, cluster: Cluster) -> None:
        records, sid = cluster.records(), connected(1).sid
        await records.store([connected(1)])
        await records.update([
            Joined(sid, "/", "a"), Left(sid, "/", "a"), Joined(sid, "/", "b"), Accepted(sid),
            Upgraded(sid, "websocket"), Left(sid, "/", "never joined"), Left(sid, "/", "c"), Joined(sid, "/", "c"),
        ])  # fmt: skip
        record = await records.load(sid)
        assert record is not None
        assert (record.rooms, record.accepted, record.transport) == ({"b", "c"}, True, "websocket")
        await records.update([])

    async def test_sessions(self, cluster: Cluster) -> None:
        records, sid = cluster.records(), connected(1).sid
        assert not await records.save_session(sid, b"early")
        await records.store([connected(1)])
        assert await records.load_session(sid) is None
        assert await records.save_session(sid, b"\x00\xff")
        assert await records.load_session(sid) == b"\x00\xff"
        record = await records.load(sid)
        assert record is not None
        assert record.session == b"\x00\xff"

    async def test_storing_again_keeps_what_was_gained(self, cluster: Cluster) -> None:
        records, sid = cluster.records(), connected(1).sid
        await records.store([connected(1)])
        await records.save_session(sid, b"s")
        await records.update([Accepted(sid), Joined(sid, "/", "a")])
        await records.store([connected(1)])
        record = await records.load(sid)
        assert record is not None
        assert (record.session, record.accepted, record.rooms) == (b"s", True, {"a"})

    async def test_the_dead_stay_dead(self, cluster: Cluster) -> None:
        records, sid = cluster.records(), connected(1).sid
        await records.store([connected(1)])
        await records.forget([Ended(sid), Ended(connected(9).sid)])
        await records.update([Accepted(sid), Joined(sid, "/", "a"), Upgraded(sid, "websocket"), Left(sid, "/", "a")])
        assert not await records.save_session(sid, b"late")
        assert await records.load(sid) is None
        assert await records.load_session(sid) is None
        await records.store([connected(1)])
        record = await records.load(sid)
        assert record is not None
        assert (record.accepted, record.rooms) == (False, set())

    async def test_who_holds_whom(self, cluster: Cluster) -> None:
        records = cluster.records()
        await records.store([connected(1), connected(2), connected(1, IO2)])
        assert await records.clients_of(IO1) == [(connected(1).sid, 0), (connected(2).sid, 0)]
        await records.forget([Ended(connected(1).sid)])
        assert await records.clients_of(IO1) == [(connected(2).sid, 0)]
        await cluster.registry().unregister_io_node(IO1)
        assert await records.clients_of(IO1) == []
        assert await records.clients_of(IO2) == [(connected(1, IO2).sid, 0)]
        assert await records.load(connected(2).sid) is not None

    async def test_who_is_gone_or_elsewhere_enters_and_leaves_no_room(self, cluster: Cluster) -> None:
        records, client, gone = cluster.records(), connected(1, namespace="/chat"), connected(2)
        await records.store([client])
        changes: list[RecordChange] = [
            Joined(client.sid, "/chat", "a"), Joined(client.sid, "/", "b"), Joined(gone.sid, "/", "a"),
            Left(gone.sid, "/", "a"), Left(client.sid, "/", "a"), Left(client.sid, "/chat", "b"), Accepted(gone.sid),
        ]  # fmt: skip
        done, lost = ChangeResult.DONE, ChangeResult.GONE
        assert await records.update(changes) == [done, lost, lost, lost, lost, done, lost]
        assert (await loaded(records, client.sid)).rooms == {"a"}

    async def test_who_was_forgotten_is_in_no_room_when_it_comes_back(self, cluster: Cluster) -> None:
        records, client = cluster.records(), connected(1)
        await records.store([client])
        await records.update([Joined(client.sid, "/", "a")])
        await records.forget([Ended(client.sid)])
        await records.store([client])
        assert (await loaded(records, client.sid)).rooms == set()
        assert (await cluster.selections().candidates(Selection("/", ("a",)))).sids == []

    async def test_a_foreign_sid(self, cluster: Cluster) -> None:
        records = cluster.records()
        with pytest.raises(ValueError, match="not a sid"):
            await records.forget([Ended("whatever")])


class TestFencedRecords:
    """A process that was paused changes nothing of clients whose lane another holds by now."""

    async def test_changes_under_a_lost_lease_have_no_effect(self, cluster: Cluster) -> None:
        records, leases, client = cluster.records(), cluster.leases(), connected(1)
        lane = lane_of(client.sid, cluster.config.lanes)
        await records.store([client])
        ours = await leases.acquire(lane, APP1, 60_000)
        assert ours is not None
        assert await records.update([Joined(client.sid, "/", "kept")], [ours]) == [ChangeResult.DONE]
        assert await records.save_session(client.sid, b"kept", ours)
        await leases.release(ours)
        for later in (None, await leases.acquire(lane, "app-bbbbbb", 60_000)):
            changes: list[RecordChange] = [
                Accepted(client.sid),
                Joined(client.sid, "/", "late"),
                Left(client.sid, "/", "kept"),
                Upgraded(client.sid, "late"),
            ]
            assert await records.update(changes, [ours] * 4) == [ChangeResult.FENCED] * 4, later
            assert await records.forget([Ended(client.sid)], [ours]) == 1
            with pytest.raises(LeaseLost):
                await records.save_session(client.sid, b"late", ours)
        record = await loaded(records, client.sid)
        assert (record.rooms, record.session, record.accepted) == ({"kept"}, b"kept", False)
        assert record.transport == client.transport
        assert await records.clients_of(io_node_of(client.sid)) == [(client.sid, 0)]

    async def test_a_lease_fences_the_clients_of_its_own_lane(self, cluster: Cluster) -> None:
        records, client = cluster.records(), connected(1)
        await records.store([client])
        other = Lease(lane_of(client.sid, cluster.config.lanes) + 1, APP1, 1)
        changes: list[RecordChange] = [Joined(client.sid, "/", "room"), Accepted(client.sid)]
        assert await records.update(changes, [other, None]) == [ChangeResult.DONE] * 2
        assert (await loaded(records, client.sid)).rooms == {"room"}
        assert await records.forget([Ended(client.sid)], [other]) == 0
        assert await records.load(client.sid) is None
        with pytest.raises(ValueError, match="zip"):
            await records.forget([Ended(client.sid)], [other, other])
