"""The records of clients."""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.records import Accepted, ClientRecord, Joined, Left, RecordChange, Upgraded, owner_of
from sio_cluster.testing.memory.broker import MemoryBus, MemoryClient


class MemoryClientRecords:
    """`ClientRecords` in memory."""

    def __init__(self, bus: MemoryBus, lanes: int) -> None:
        self._broker = bus.broker

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        async with self._broker.operation():
            for client in connected:
                record = self._broker.clients.get(client.sid)
                if record is None:
                    encoded = msgspec.msgpack.encode(client)
                    record = self._broker.clients[client.sid] = MemoryClient(encoded, client.transport)
                record.transport = client.transport
                self._broker.clients_of[owner_of(client.sid)].add(client.sid)

    async def load(self, sid: str) -> ClientRecord | None:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            if client is None:
                return None
            connected = msgspec.msgpack.decode(client.connected, type=ClientConnected)
            return ClientRecord(connected, client.session, set(client.rooms), client.accepted, client.transport)

    async def forget(self, sids: Sequence[str]) -> None:
        async with self._broker.operation():
            for sid in sids:
                self._broker.clients.pop(sid, None)
                self._broker.clients_of[owner_of(sid)].discard(sid)

    async def save_session(self, sid: str, session: bytes) -> bool:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            if client is not None:
                client.session = session
            return client is not None

    async def load_session(self, sid: str) -> bytes | None:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            return client.session if client is not None else None

    async def update(self, changes: Sequence[RecordChange]) -> None:
        async with self._broker.operation():
            for change in changes:
                client = self._broker.clients.get(change.sid)
                if client is not None:
                    _apply(client, change)

    async def clients_of(self, node_id: str) -> list[str]:
        async with self._broker.operation():
            return sorted(self._broker.clients_of[node_id])

    async def forget_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.clients_of.pop(node_id, None)


def _apply(client: MemoryClient, change: RecordChange) -> None:
    match change:
        case Accepted():
            client.accepted = True
        case Joined(room=room):
            client.rooms.add(room)
        case Left(room=room):
            client.rooms.discard(room)
        case Upgraded(transport=transport):
            client.transport = transport
        case _:
            assert_never(change)
