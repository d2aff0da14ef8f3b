"""What stands in Redis about clients, and their rooms."""

import pytest

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.presences import Meta
from sio_cluster.streams.api.records import Ended, Joined, Left
from sio_cluster.streams.api.selections import LEFT_MS, RoomsChange, Selection
from sio_cluster.streams.redis import RedisBus, records
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.wire import Reply

from .real_server import IO1, LONG_MS, hold

pytestmark = pytest.mark.slow


HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)


class TestRecords:
    async def test_changes_keep_their_order_when_scripts_are_gone(self, bus: RedisBus) -> None:
        sid = f"{IO1}.{'0' * 16}"
        client = bus.keys.client(_lane(sid), sid)
        await bus.connections.run(("HSET", client, "connected", "x", "namespace", "/"), ("SCRIPT", "FLUSH"))
        await bus.records.update([Joined(sid, "/", "a"), Left(sid, "/", "a"), Joined(sid, "/", "b")])
        assert await bus.connections.run(("SMEMBERS", bus.keys.rooms(_lane(sid), sid))) == [[b'"b"']]

    async def test_the_room_index_has_the_members_and_nothing_else(self, bus: RedisBus) -> None:
        clients = [ClientConnected(f"{IO1}.{n:016d}", "c", "/chat", None, HANDSHAKE, "polling") for n in range(20)]
        written, pattern = bus.records, bus.keys.of_lane(0).replace("{lane:0}", "{lane:*}") + "room:*"
        await written.store(clients)
        await written.update([Joined(client.sid, "/chat", room) for client in clients for room in ("a", 7)])
        index = {key: set(members) for key, members in await self._sets(bus, pattern)}
        for client in clients:
            lane = _lane(client.sid)
            for room in ('"a"', "7"):
                assert client.sid.encode() in index[bus.keys.room(lane, "/chat", room).encode()]
        assert sum(map(len, index.values())) == 40
        leave = RoomsChange(("a",), inside=False)
        await bus.selections.change(Selection("/chat", ("a",)), [client.sid for client in clients], leave)
        await written.update([Left(client.sid, "/chat", 7) for client in clients[:5]])
        await written.forget([Ended(client.sid) for client in clients[5:]])
        assert await self._sets(bus, pattern) == []

    async def test_who_left_a_room_is_forgotten_by_itself(self, bus: RedisBus) -> None:
        sid = f"{IO1}.{'0' * 16}"
        await bus.records.store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling")])
        await bus.records.update([Joined(sid, "/", "a")])
        leave, left = RoomsChange(("a",), inside=False, noted=("a",)), bus.keys.left(_lane(sid), "/", '"a"')
        await bus.selections.change(Selection("/", ("a",)), [sid], leave)
        members, lasts_ms = await bus.connections.run(("SMEMBERS", left), ("PTTL", left))
        assert members == [sid.encode()]
        assert LEFT_MS - 60_000 < lasts_ms <= LEFT_MS

    async def test_what_a_client_shows_ends_also_if_its_record_has_expired(self, bus: RedisBus) -> None:
        """As a record does where no app-node is there for an hour."""
        sid = f"{IO1}.{'0' * 16}"
        lane = _lane(sid)
        await bus.registry.register_io_node(IO1, {})
        await bus.inbox_reader(IO1, keeps_log=True).read(1)
        await bus.records.store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling")])
        await bus.records.update([Joined(sid, "/", "a")])
        await bus.presences.show(sid, Meta("/", "a", "ada", b"{}", "0" * 16), 0)
        await bus.records.forget([Ended(sid, 0, LONG_MS)])
        await bus.connections.run(("UNLINK", bus.keys.client(lane, sid), bus.keys.rooms(lane, sid)))
        _, lease = await hold(bus, lane)
        [news] = await bus.presences.news([lease])
        assert [one.shown for one in news] == [True, False]
        assert await bus.presences.metas("/", "a") == []

    async def test_many_clients_of_an_io_node_are_asked_for_some_at_a_time(
        self, bus: RedisBus, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its burial must not hold up the app-node."""
        count = 2 * records.CLIENTS_AT_ONCE + 1
        sids = [f"{IO1}.{number:016d}" for number in range(count)]
        await bus.records.store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling") for sid in sids])
        run, most = bus.connections.run, 0

        async def watched(*commands: RedisCommand) -> list[Reply]:
            nonlocal most
            most = max(most, len(commands))
            return await run(*commands)

        monkeypatch.setattr(bus.connections, "run", watched)
        assert await bus.records.clients_of(IO1) == [(sid, 0) for sid in sids]
        assert most == records.CLIENTS_AT_ONCE

    async def _sets(self, bus: RedisBus, pattern: str) -> list[tuple[bytes, list[bytes]]]:
        [keys] = await bus.connections.run(("KEYS", pattern))
        return list(zip(keys, await bus.connections.run(*[("SMEMBERS", key) for key in keys]), strict=True))


def _lane(sid: str) -> int:
    return lane_of(sid, 16)
