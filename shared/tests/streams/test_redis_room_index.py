"""The room index in a real server: what older releases left, large rooms, what stays behind, and reads that block."""

import asyncio
import random
import socket
import time

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused, BusUnavailable
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import Accepted, Ended, Joined, Left, RecordChange
from sio_cluster.streams.redis import RedisBus, lookup, queries, room_index
from sio_cluster.testing.valkey import Valkey, start_valkey

from .real_server import IO1

pytestmark = pytest.mark.slow

HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)
LANES = 16


def connected(number: int, namespace: str = "/") -> ClientConnected:
    return ClientConnected(f"{IO1}.{number:016d}", "c", namespace, None, HANDSHAKE, "polling", bytes(32))


def lane(client: ClientConnected) -> int:
    return lane_of(client.sid, LANES)


async def walked(bus: RedisBus, namespace: str, room: str | None, limit: int) -> list[str]:
    sids: list[str] = []
    cursor = None
    while True:
        page = await bus.room_index.page(namespace, room, limit, cursor)
        sids += [record.connected.sid for record in page.records]
        cursor = page.cursor
        if cursor is None:
            return sids


class TestOlderRelease:
    """Its scripts write the records and the members of rooms, and nothing else of the index."""

    async def accept(self, bus: RedisBus, client: ClientConnected) -> None:
        await bus.connections.run(("HSET", bus.keys.client(lane(client), client.sid), "accepted", 1, "let_in", 0))

    async def join(self, bus: RedisBus, client: ClientConnected, room: str) -> None:
        keys = bus.keys
        await bus.connections.run(
            ("SADD", keys.rooms(lane(client), client.sid), room),
            ("SADD", keys.room(lane(client), client.namespace, room), client.sid),
        )

    async def leave(self, bus: RedisBus, client: ClientConnected, room: str) -> None:
        keys = bus.keys
        await bus.connections.run(
            ("SREM", keys.rooms(lane(client), client.sid), room),
            ("SREM", keys.room(lane(client), client.namespace, room), client.sid),
        )

    async def test_the_index_is_right_again_after_restore(self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room_index, "_AT_ONCE", 3)
        clients = [connected(n, "/a:b" if n % 2 else "/") for n in range(40)]
        await bus.records.store(clients)
        ours, theirs, pending, gone, away = (clients[n : n + 8] for n in range(0, 40, 8))
        for client in (*ours, *gone, *away):
            await bus.records.update([Accepted(client.sid), Joined(client.sid, client.namespace, "r")])
        for client in theirs:
            await self.accept(bus, client)
        for client in (*ours, *theirs, *pending):
            await self.join(bus, client, '"theirs"')
        for client in ours[:4]:
            await self.leave(bus, client, '"r"')
        for client in gone:  # forgotten by their script
            await self.leave(bus, client, '"r"')
            await bus.connections.run(("UNLINK", bus.keys.client(lane(client), client.sid)))
        for client in away:
            await bus.connections.run(("HSET", bus.keys.client(lane(client), client.sid), "away", 10**15))
        await bus.connections.run(
            ("HSET", bus.keys.counts(3, "/"), '"of nobody"', 7), ("ZADD", bus.keys.here(3, "/x"), 0, gone[0].sid)
        )
        await bus.connections.run(("HDEL", bus.keys.config, "index"))
        for _ in range(2):
            await bus.room_index.restore()
            for namespace in ("/", "/a:b"):
                assert await bus.room_index.counts(namespace) == {"r": 2, "theirs": 8}
                here = sorted(client.sid for client in (*ours, *theirs) if client.namespace == namespace)
                assert sorted(await walked(bus, namespace, None, 5)) == here
            assert await bus.room_index.count("/x") == 0
        [record] = await bus.connections.run(("HGET", bus.keys.config, "index"))
        assert record == b"exact"

    async def test_a_restore_during_which_an_old_node_was_seen_counts_for_nothing(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        restore = bus.room_index._count_rooms

        async def seen(rooms: set[tuple[int, str, bytes]]) -> None:
            await bus.registry.register_io_node(IO1, {"level": "2"})
            await bus.registry.level()
            await bus.registry.unregister_io_node(IO1)
            await restore(rooms)

        monkeypatch.setattr(bus.room_index, "_count_rooms", seen)
        await bus.room_index.restore()
        assert not await bus.room_index.is_exact()

    async def test_records_change_while_it_is_built(self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(room_index, "_AT_ONCE", 2)
        clients = [connected(n) for n in range(60)]
        await bus.records.store(clients)
        for client in clients:
            await self.accept(bus, client)
            await self.join(bus, client, '"r"')
        await bus.connections.run(("HDEL", bus.keys.config, "index"))
        chance = random.Random(3)

        async def change() -> None:
            while True:
                client = chance.choice(clients)
                changes: list[RecordChange] = [Joined(client.sid, "/", "new"), Left(client.sid, "/", "r")]
                await bus.records.update([chance.choice(changes)])

        changing = asyncio.create_task(change())
        await bus.room_index.restore()
        changing.cancel()
        await asyncio.wait([changing])
        records = [await bus.records.load(client.sid) for client in clients]
        rooms = [record.rooms for record in records if record is not None]
        counts = {room: sum(room in of_client for of_client in rooms) for room in ("r", "new")}
        assert await bus.room_index.counts("/") == {room: number for room, number in counts.items() if number}
        assert await bus.room_index.count("/") == 60


class TestLargeRooms:
    async def test_pages_of_a_large_part(self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whichever way a part is read, the order is the same: the way may change within a walk."""
        monkeypatch.setattr(queries, "_CHUNK", 4)
        clients = [connected(n) for n in range(300)]
        await bus.records.store(clients)
        await bus.records.update([Accepted(client.sid) for client in clients])
        await bus.records.update([Joined(client.sid, "/", "r") for client in clients if int(client.sid[-1]) < 5])
        wanted = [client.sid for client in clients if int(client.sid[-1]) < 5]
        in_order = sorted(wanted, key=lambda sid: (lane_of(sid, LANES), sid))
        for limit in (1, 3, 10, 1000):
            for at_once in (0, 8, 10, 1000):
                monkeypatch.setattr(queries, "_AT_ONCE", at_once)
                assert await walked(bus, "/", "r", limit) == in_order


class TestLeftovers:
    async def test_ten_thousand_clients_leave_no_key_behind(self, bus: RedisBus) -> None:
        await bus.connections.run(("FLUSHDB",))
        await bus.start()
        [base] = await bus.connections.run(("DBSIZE",))
        for begin in range(0, 10_000, 1_000):
            clients = [connected(n, "/" if n % 2 else "/b") for n in range(begin, begin + 1_000)]
            await bus.records.store(clients)
            await bus.records.update(
                [
                    change
                    for client in clients
                    for change in (
                        Joined(client.sid, client.namespace, int(client.sid[-2:])),
                        Accepted(client.sid),
                        Joined(client.sid, client.namespace, client.sid[-3:]),
                        Left(client.sid, "/", int(client.sid[-2:])),
                    )
                ]
            )
            assert await bus.room_index.count("/") == 500
            await bus.records.forget([Ended(client.sid) for client in clients])
        await bus.registry.unregister_io_node(IO1)
        assert await bus.connections.run(("DBSIZE",)) == [base]


class TestLookup:
    async def test_it_comes_back_after_its_connection_was_closed(self, bus: RedisBus, server: Valkey) -> None:
        await bus.records.store([connected(1)])
        assert bus.lookup.record(connected(1).sid) is not None
        await bus.connections.run(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))
        record = bus.lookup.record(connected(1).sid)
        assert record is not None
        assert record.connected == connected(1)
        assert bus.lookup.record(connected(2).sid) is None
        await bus.stop()
        assert bus.lookup.record(connected(1).sid) is not None
        bus.lookup.close()

    async def test_a_redis_that_stands_still(self, server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lookup, "TIMEOUT_S", 0.25)
        bus = RedisBus(Config(REDIS_URL=server.url))
        for _ in range(2):  # with a connection, and without
            server.pause()
            begin = time.monotonic()
            with pytest.raises(BusUnavailable, match=r"127\.0\.0\.1"):
                bus.lookup.record(connected(1).sid)
            assert 0.2 < time.monotonic() - begin < 2
            server.resume()
        monkeypatch.setattr(lookup, "TIMEOUT_S", 5.0)
        assert RedisBus(Config(REDIS_URL=server.url)).lookup.record(connected(1).sid) is None

    async def test_a_redis_that_is_not_there(self) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            bus = RedisBus(Config(REDIS_URL=f"redis://127.0.0.1:{unused.getsockname()[1]}/0"))
            with pytest.raises(BusUnavailable):
                bus.lookup.record(connected(1).sid)

    async def test_passwords_and_databases(self) -> None:
        with start_valkey(requirepass="open sesame/%") as server:
            wrong, right = (
                RedisBus(Config(REDIS_HOST="127.0.0.1", REDIS_PORT=server.port, REDIS_PASSWORD=password))
                for password in ("close sesame", "open sesame/%")
            )
            with pytest.raises(AccessRefused):
                wrong.lookup.record(connected(1).sid)
            assert right.lookup.record(connected(1).sid) is None
            other = RedisBus(Config(REDIS_URL=f"redis://:open%20sesame%2F%25@127.0.0.1:{server.port}/3"))
            await other.start()
            await other.records.store([connected(1)])
            assert other.lookup.record(connected(1).sid) is not None
            assert right.lookup.record(connected(1).sid) is None
            for bus in (wrong, right, other):
                await bus.stop()
