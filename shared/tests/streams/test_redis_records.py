"""What stands in Redis about clients, and their rooms."""

import pytest

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import Ended, Joined, Left, RoomClosed
from sio_cluster.streams.redis import RedisBus

from .real_server import IO1

pytestmark = pytest.mark.slow


HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)


class TestRecords:
    async def test_changes_keep_their_order_when_scripts_are_gone(self, bus: RedisBus) -> None:
        sid = f"{IO1}.{'0' * 16}"
        client = bus.keys.client(_lane(sid), sid)
        await bus.connections.run(("HSET", client, "connected", "x", "namespace", "/"), ("SCRIPT", "FLUSH"))
        records = bus.records
        await records.update([Joined(sid, "/", "a"), Left(sid, "a"), Joined(sid, "/", "b")])
        assert await bus.connections.run(("SMEMBERS", bus.keys.rooms(_lane(sid), sid))) == [[b'"b"']]

    async def test_the_room_index_has_the_members_and_nothing_else(self, bus: RedisBus) -> None:
        clients = [ClientConnected(f"{IO1}.{n:016d}", "c", "/chat", None, HANDSHAKE, "polling") for n in range(20)]
        records, pattern = bus.records, bus.keys.members(0).replace("{lane:0}", "{lane:*}") + "*"
        await records.store(clients)
        await records.update([Joined(client.sid, "/chat", room) for client in clients for room in ("a", 7)])
        index = {key: set(members) for key, members in await self._sets(bus, pattern)}
        for client in clients:
            lane = _lane(client.sid)
            for room in ('"a"', "7"):
                assert client.sid.encode() in index[bus.keys.room(lane, "/chat", room).encode()]
        assert sum(map(len, index.values())) == 40
        await records.update([RoomClosed("/chat", "a"), *[Left(client.sid, 7) for client in clients[:5]]])
        await records.forget([Ended(client.sid) for client in clients[5:]])
        assert await self._sets(bus, pattern) == []

    async def _sets(self, bus: RedisBus, pattern: str) -> list[tuple[bytes, list[bytes]]]:
        [keys] = await bus.connections.run(("KEYS", pattern))
        return list(zip(keys, await bus.connections.run(*[("SMEMBERS", key) for key in keys]), strict=True))


def _lane(sid: str) -> int:
    return lane_of(sid, 16)
