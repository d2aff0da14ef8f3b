"""The records of clients."""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import lane_behind, lane_of
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import (
    Accepted,
    ChangeResult,
    ClientRecord,
    Joined,
    Left,
    RecordChange,
    Restoring,
    RoomClosed,
    Upgraded,
    io_node_of,
    paired,
)
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryClient


class MemoryClientRecords:
    """`api.records.ClientRecords`."""

    def __init__(self, broker: MemoryBroker, lanes: int) -> None:
        self._broker = broker
        self._lanes = lanes

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        async with self._broker.operation():
            for client in connected:
                record = self._broker.clients.get(client.sid)
                if record is None:
                    encoded = msgspec.msgpack.encode(client)
                    record = MemoryClient(encoded, client.namespace, client.transport)
                    self._broker.clients[client.sid] = record
                record.transport = client.transport
                self._broker.clients_of[io_node_of(client.sid)].add(client.sid)

    async def load(self, sid: str) -> ClientRecord | None:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            if client is None:
                return None
            connected = msgspec.msgpack.decode(client.connected, type=ClientConnected)
            rooms, accepted, transport = set(client.rooms), client.accepted, client.transport
            return ClientRecord(connected, client.session, rooms, accepted, transport, client.restoring)

    async def forget(self, sids: Sequence[str], leases: Sequence[Lease | None] = ()) -> int:
        fenced = 0
        async with self._broker.operation():
            for sid, lease in paired(sids, leases):
                if self._is_fenced(sid, lease):
                    fenced += 1
                    continue
                self._broker.clients.pop(sid, None)
                self._broker.clients_of[io_node_of(sid)].discard(sid)
        return fenced

    async def save_session(self, sid: str, session: bytes, lease: Lease | None = None) -> bool:
        async with self._broker.operation():
            if self._is_fenced(sid, lease):
                raise LeaseLost(f"the lane of {sid} is no longer held")
            client = self._broker.clients.get(sid)
            if client is not None:
                client.session = session
            return client is not None

    async def load_session(self, sid: str) -> bytes | None:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            return client.session if client is not None else None

    async def update(self, changes: Sequence[RecordChange], leases: Sequence[Lease | None] = ()) -> list[ChangeResult]:
        async with self._broker.operation():
            return [self._change(change, lease) for change, lease in paired(changes, leases)]

    async def clients_of(self, node_id: str) -> list[str]:
        async with self._broker.operation():
            return sorted(self._broker.clients_of[node_id])

    async def forget_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.clients_of.pop(node_id, None)

    def _change(self, change: RecordChange, lease: Lease | None) -> ChangeResult:
        if isinstance(change, RoomClosed):
            return self._close_room(change, lease)
        client = self._broker.clients.get(change.sid)
        if self._is_fenced(change.sid, lease):
            return ChangeResult.FENCED
        if client is None or (isinstance(change, Joined) and client.namespace != change.namespace):
            return ChangeResult.GONE
        _apply(client, change)
        return ChangeResult.DONE

    def _close_room(self, change: RoomClosed, lease: Lease | None) -> ChangeResult:
        for sid, client in self._broker.clients.items():
            if client.namespace == change.namespace and not self._is_fenced(sid, lease):
                client.rooms.discard(change.room)
        return ChangeResult.FENCED if lease is not None and self._is_lost(lease) else ChangeResult.DONE

    def _is_fenced(self, sid: str, lease: Lease | None) -> bool:
        return lease is not None and lane_behind(lease.lane) == lane_of(sid, self._lanes) and self._is_lost(lease)

    def _is_lost(self, lease: Lease) -> bool:
        current = self._broker.leases.get(lease.lane)
        if current is None or current.deadline <= self._broker.clock():
            return True
        return (current.node_id, current.token) != (lease.node_id, lease.token)


def _apply(client: MemoryClient, change: Accepted | Joined | Left | Upgraded | Restoring) -> None:
    match change:
        case Accepted():
            client.accepted = True
        case Joined(room=room):
            client.rooms.add(room)
        case Left(room=room):
            client.rooms.discard(room)
        case Upgraded(transport=transport):
            client.transport = transport
        case Restoring(begun=begun):
            client.restoring = begun
        case _:
            assert_never(change)
