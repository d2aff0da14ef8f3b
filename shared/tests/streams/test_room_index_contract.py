"""The room index, in memory and in Valkey alike."""

import asyncio
import random

import pytest

from sio_cluster.protocol.errors import IndexNotExact
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import LEVEL, SERVER_LEVEL, ClientConnected, Handshake, Room
from sio_cluster.streams.api.records import Accepted, Claim, ClientRecord, Ended, Joined, Left, RecordChange
from sio_cluster.streams.api.room_index import PAGE_LIMIT, RoomIndex
from sio_cluster.streams.api.selections import RoomsChange, Selection
from sio_cluster.testing.contract import Cluster

IO1, IO2, LONG_MS = "io1-aaaaaa", "io2-aaaaaa", 60_000
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)
HASH = bytes(range(32))


def connected(number: int, namespace: str = "/", node: str = IO1) -> ClientConnected:
    return ClientConnected(f"{node}.{number:016d}", "c1", namespace, None, HANDSHAKE, "polling", HASH)


async def found(cluster: Cluster) -> None:
    """The cluster is there, and IO1 is a home to which clients may come back."""
    await cluster.registry().join_cluster()
    await cluster.inbox_reader(IO1, keeps_log=True).read(0)


async def let_in(cluster: Cluster, *clients: ClientConnected) -> None:
    await cluster.records().store(clients)
    await cluster.records().update([Accepted(client.sid) for client in clients])


async def walked(index: RoomIndex, namespace: str, room: Room | None = None, limit: int = 7) -> list[str]:
    """The sids of all pages."""
    sids: list[str] = []
    cursor = None
    while True:
        page = await index.page(namespace, room, limit, cursor)
        assert len(page.records) <= limit
        sids += [record.connected.sid for record in page.records]
        cursor = page.cursor
        if cursor is None:
            return sids


async def assert_right(cluster: Cluster, records: list[ClientRecord], namespace: str) -> None:
    """All that the index says is what these records say, which are all that there are."""
    index, lookup = cluster.room_index(), cluster.lookup()
    here = {record.connected.sid: record.rooms for record in records if record.is_here}
    here = {sid: rooms for sid, rooms in here.items() if any(
        record.connected.sid == sid and record.connected.namespace == namespace for record in records
    )}  # fmt: skip
    assert await index.count(namespace) == len(here)
    assert sorted(await walked(index, namespace)) == sorted(here)
    assert sorted(lookup.sids(namespace)) == sorted(here)
    rooms = {room for of_client in here.values() for room in of_client}
    truth = {room: sum(room in of_client for of_client in here.values()) for room in rooms}
    assert await index.counts(namespace) == truth
    for room, number in truth.items():
        assert await index.count(namespace, room) == number
        members = sorted(sid for sid, of_client in here.items() if room in of_client)
        assert sorted(await walked(index, namespace, room, limit=3)) == members
        assert sorted(lookup.sids(namespace, room)) == members


class TestWhoCounts:
    async def test_from_when_it_is_let_in_until_it_is_gone(self, cluster: Cluster) -> None:
        await found(cluster)
        records, index, client = cluster.records(), cluster.room_index(), connected(1)
        await records.store([client])
        await records.update([Joined(client.sid, "/", "a")])
        assert (await index.count("/"), await index.count("/", "a"), await index.counts("/")) == (0, 0, {})
        assert (await index.page("/", "a")).records == []
        for _ in range(2):
            await records.update([Accepted(client.sid)])
            assert (await index.count("/"), await index.counts("/")) == (1, {"a": 1})
        for _ in range(2):
            await records.update([Joined(client.sid, "/", 7), Left(client.sid, "/", "never entered")])
            assert await index.counts("/") == {"a": 1, 7: 1}
        assert await index.count("/other") == 0
        for _ in range(2):
            await records.forget([Ended(client.sid)])
            assert (await index.count("/"), await index.counts("/"), await walked(index, "/")) == (0, {}, [])

    async def test_who_is_away_does_not_count_until_it_is_back(self, cluster: Cluster) -> None:
        await found(cluster)
        records, index, client = cluster.records(), cluster.room_index(), connected(1)
        await let_in(cluster, client)
        await records.update([Joined(client.sid, "/", "a"), Joined(client.sid, "/", "b")])
        for _ in range(2):
            await records.forget([Ended(client.sid, 0, LONG_MS)])
            await records.update([Accepted(client.sid)])  # as a retry may do
            assert (await index.count("/"), await index.counts("/")) == (0, {})
            assert (await index.page("/", "a")).records == []
        await records.update([Left(client.sid, "/", "b"), Joined(client.sid, "/", "c")])
        assert isinstance(await records.claim(client.sid, "/", HASH, IO2), Claim)
        assert (await index.count("/"), await index.counts("/")) == (1, {"a": 1, "c": 1})
        [record] = (await index.page("/", "a")).records
        assert (record.connected.holder, record.rooms) == (IO2, {"a", "c"})
        await records.forget([Ended(client.sid, 0, LONG_MS)])  # of its former connection
        assert await index.counts("/") == {"a": 1, "c": 1}
        await records.forget([Ended(client.sid, 1, LONG_MS)])
        assert await index.count("/") == 0
        await records.forget([Ended(client.sid, 1)])
        assert await index.counts("/") == {}

    async def test_since_when(self, cluster: Cluster) -> None:
        await found(cluster)
        records, client = cluster.records(), connected(1)

        async def connected_at() -> float:
            record = await records.load(client.sid)
            assert record is not None
            assert record.connected_at is not None
            return record.connected_at

        await let_in(cluster, client)
        first = await connected_at()
        await asyncio.sleep(0.01)
        await records.store([client])
        assert await connected_at() == first
        await records.claim(client.sid, "/", HASH, IO2)
        assert await connected_at() > first


class TestQuestions:
    async def test_rooms_by_their_beginning(self, cluster: Cluster) -> None:
        await found(cluster)
        client = connected(1)
        rooms: list[Room] = ["", "game:1", "game:2", "gam", 'a"b', "a*b", "a[b]", "a\\b", "a?c", "a^", "ключ", "кл", 7]
        await let_in(cluster, client)
        await cluster.records().update([Joined(client.sid, "/", room) for room in rooms])
        index = cluster.room_index()
        assert await index.counts("/") == dict.fromkeys(rooms, 1)
        for prefix in ("game:", "g", 'a"', "a*", "a[", "a\\", "a?", "a^", "к", "7", "none", "game:1"):
            wanted = {room: 1 for room in rooms if isinstance(room, str) and room.startswith(prefix)}
            assert await index.counts("/", prefix) == wanted, prefix

    async def test_pages(self, cluster: Cluster) -> None:
        await found(cluster)
        clients = [connected(n) for n in range(60)]
        await let_in(cluster, *clients, *[connected(n, "/чат:a") for n in range(100, 105)])
        await cluster.records().update([Joined(client.sid, "/", "a") for client in clients[:30]])
        index = cluster.room_index()
        for limit in (1, 4, 60, 1000):
            assert sorted(await walked(index, "/", None, limit)) == [client.sid for client in clients]
            assert sorted(await walked(index, "/", "a", limit)) == [client.sid for client in clients[:30]]
        assert len(await walked(index, "/чат:a")) == 5
        assert await walked(index, "/", "nobody") == []
        page = await index.page("/", None, 60)
        assert [record.connected for record in page.records if record.connected.sid == clients[3].sid] == [clients[3]]
        for limit in (0, -1, PAGE_LIMIT + 1):
            with pytest.raises(ValueError, match="a page has"):
                await index.page("/", None, limit)
        for cursor in ("", "x", "io1-aaaaaa", "0:io1-aaaaaa.0000000000000001"):
            with pytest.raises(ValueError, match="no cursor"):
                await index.page("/", None, 5, cursor)

    @pytest.mark.parametrize("room", [None, "a"])
    async def test_a_walk_while_others_come_and_go(self, cluster: Cluster, room: str | None) -> None:
        """Who is there all the time is met once, whoever else comes and goes between the pages."""
        await found(cluster)
        records, index, chance = cluster.records(), cluster.room_index(), random.Random(5)
        stay = [connected(n) for n in range(0, 200, 2)]
        others = [connected(n) for n in range(1, 200, 2)]
        await let_in(cluster, *stay)
        await records.update([Joined(client.sid, "/", "a") for client in stay])
        met: list[str] = []
        cursor = None
        while True:
            coming = chance.sample(others, 30)
            await let_in(cluster, *coming)
            await records.update([Joined(client.sid, "/", "a") for client in coming])
            page = await index.page("/", room, 9, cursor)
            met += [record.connected.sid for record in page.records]
            await records.forget([Ended(client.sid) for client in coming])
            cursor = page.cursor
            if cursor is None:
                break
        assert len(met) == len(set(met))
        assert {client.sid for client in stay} <= set(met)


class TestExactness:
    async def test_a_node_of_an_older_release(self, cluster: Cluster) -> None:
        await found(cluster)
        index, registry, lookup = cluster.room_index(), cluster.registry(), cluster.lookup()
        await registry.register_app_node("app-aaaaaa", {"level": str(LEVEL)})
        assert await registry.level() == LEVEL
        assert await index.is_exact()
        await registry.register_io_node(IO1, {"level": str(SERVER_LEVEL - 1)})
        await let_in(cluster, connected(1))
        assert await registry.level() == SERVER_LEVEL - 1
        await registry.register_io_node(IO1, {"level": str(LEVEL)})
        for _ in range(2):
            assert not await index.is_exact()
            with pytest.raises(IndexNotExact):
                await index.count("/")
            with pytest.raises(IndexNotExact):
                await index.counts("/")
            with pytest.raises(IndexNotExact):
                await index.page("/")
            with pytest.raises(IndexNotExact):
                list(lookup.sids("/"))
            assert lookup.record(connected(1).sid) is not None
            assert await registry.join_cluster()
        await index.restore()
        assert await index.is_exact()
        assert await index.count("/") == 1

    async def test_what_nobody_has_founded(self, cluster: Cluster) -> None:
        with pytest.raises(IndexNotExact):
            await cluster.room_index().count("/")


class TestHistory:
    @pytest.mark.parametrize("seed", range(3))
    async def test_three_writers(self, cluster: Cluster, seed: int) -> None:
        """After any history, the index says what the records say; and so it does after it was built anew."""
        await found(cluster)
        clients = [connected(n, "/" if n % 3 else "/b") for n in range(24)]
        rooms: list[Room] = ["a", "b", 7, "7"]

        async def write(chance: random.Random) -> None:
            records, selections = cluster.records(), cluster.selections()
            for _ in range(60):
                client = chance.choice(clients)
                sid, namespace = client.sid, client.namespace
                record = await records.load(sid)
                generation = 0 if record is None else record.connected.generation
                match chance.randrange(8):
                    case 0:
                        await records.forget([Ended(sid, generation, chance.choice([0, LONG_MS]))])
                    case 1 if record is not None and record.away:
                        await records.claim(sid, namespace, HASH, chance.choice([IO1, IO2]))
                    case 2:
                        selection = Selection(namespace, chance.choice([None, ("a",), ("b", 7)]), ("7",))
                        change = RoomsChange(tuple(chance.sample(rooms, 2)), inside=chance.random() < 0.4)
                        await selections.change(selection, [client.sid for client in clients], change)
                    case 3 | 4 if record is None:
                        await records.store([client])
                    case _:
                        changes: list[RecordChange] = [
                            Accepted(sid, generation), Joined(sid, namespace, chance.choice(rooms)),
                            Joined(sid, namespace, chance.choice(rooms)), Left(sid, namespace, chance.choice(rooms)),
                        ]  # fmt: skip
                        await records.update(chance.sample(changes, 3))

        await asyncio.gather(*[write(random.Random(f"{seed}.{writer}")) for writer in range(3)])
        loaded = [await cluster.records().load(client.sid) for client in clients]
        left = [record for record in loaded if record is not None]
        assert any(record.is_here for record in left)
        for namespace in ("/", "/b"):
            await assert_right(cluster, left, namespace)
        await cluster.room_index().restore()
        for namespace in ("/", "/b"):
            await assert_right(cluster, left, namespace)


def test_clients_of_this_suite_are_of_many_lanes() -> None:
    assert len({lane_of(connected(n).sid, 16) for n in range(60)}) > 8
