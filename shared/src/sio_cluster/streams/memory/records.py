"""The records of clients."""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.protocol.recovery import is_same
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.quiet import marks_of_client
from sio_cluster.streams.api.records import (
    OVERDUE_COUNT,
    Accepted,
    ChangeResult,
    Claim,
    ClaimRefused,
    ClientRecord,
    Ended,
    Joined,
    Left,
    RecordChange,
    Restoring,
    Upgraded,
    io_node_of,
    paired,
)
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryClient


class MemoryClientRecords:
    """`api.records.ClientRecords`."""

    def __init__(self, broker: MemoryBroker, keys: Keys, lanes: int) -> None:
        self._broker = broker
        self._keys = keys
        self._lanes = lanes

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        async with self._broker.operation():
            for client in connected:
                self._store(client)

    async def load(self, sid: str) -> ClientRecord | None:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            if client is None:
                return None
            return record_of(client)

    async def forget(self, clients: Sequence[Ended], leases: Sequence[Lease | None] = ()) -> int:
        fenced = 0
        async with self._broker.operation():
            for ended, lease in paired(clients, leases):
                home = io_node_of(ended.sid)
                if self._broker.is_fenced(ended.sid, self._lanes, lease):
                    fenced += 1
                    continue
                record = self._broker.clients.get(ended.sid)
                if record is None:
                    continue
                if not ended.untold and record.let_in is not None and record.let_in <= ended.generation:
                    record.let_in = None
                if record.generation > ended.generation:
                    continue
                self._broker.clients_of[record.holder].discard(ended.sid)
                if ended.keep_ms and self._has_log(home):
                    record.away_until = self._broker.clock() + ended.keep_ms / 1000
                    record.untold = "" if record.let_in is None else ended.untold
                    if record.linger_ms is not None:
                        shown_ms = min(record.linger_ms, ended.keep_ms)
                        record.shows_until = self._broker.clock() + shown_ms / 1000
                else:
                    self._forget(ended.sid)
        return fenced

    async def claim(self, sid: str, namespace: str, pid_hash: bytes, holder: str) -> Claim | ClaimRefused:
        async with self._broker.operation():
            record = self._broker.clients.get(sid)
            if record is None or self._is_over(record) or not record.pid_hash:
                return ClaimRefused.GONE
            if record.namespace != namespace or not is_same(record.pid_hash, pid_hash):
                return ClaimRefused.WRONG
            if not record.accepted:
                return ClaimRefused.PENDING
            former = record.holder if record.away_until is None else ""
            self._broker.clients_of[record.holder].discard(sid)
            self._broker.clients_of[holder].add(sid)
            record.holder, record.away_until, record.shows_until, record.untold = holder, None, None, ""
            record.generation += 1
            record.connected_at = self._broker.clock()
            return Claim(_connected(record), record.generation, former)

    async def overdue(self, home: str) -> list[tuple[str, int, str]]:
        async with self._broker.operation():
            records = [(sid, self._broker.clients[sid]) for sid in sorted(clients_at(self._broker, home))]
            overdue = [(sid, record) for sid, record in records if record.untold and self._is_over(record)]
            return [(sid, record.generation, record.untold) for sid, record in overdue[:OVERDUE_COUNT]]

    async def renounce(self, sessions: Sequence[tuple[str, int]]) -> None:
        async with self._broker.operation():
            for sid, generation in sessions:
                record = self._broker.clients.get(sid)
                if record is not None and record.generation <= generation:
                    record.pid_hash = b""

    async def away(self, home: str) -> int:
        async with self._broker.operation():
            for sid in clients_at(self._broker, home):
                record = self._broker.clients[sid]
                if self._is_over(record) and not record.untold:
                    self._forget(sid)
            return len(absent(self._broker, home))

    async def save_session(self, sid: str, session: bytes, lease: Lease | None = None) -> bool:
        async with self._broker.operation():
            if self._broker.is_fenced(sid, self._lanes, lease):
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

    async def clients_of(self, node_id: str) -> list[tuple[str, int]]:
        async with self._broker.operation():
            records = [(sid, self._broker.clients.get(sid)) for sid in sorted(self._broker.clients_of[node_id])]
            return [(sid, record.generation) for sid, record in records if record is not None]

    def _change(self, change: RecordChange, lease: Lease | None) -> ChangeResult:
        client = self._broker.clients.get(change.sid)
        if self._broker.is_fenced(change.sid, self._lanes, lease):
            return ChangeResult.FENCED
        if client is None or (isinstance(change, Joined | Left) and client.namespace != change.namespace):
            return ChangeResult.GONE
        if isinstance(change, Upgraded) and client.generation > change.generation:
            return ChangeResult.GONE
        _apply(client, change)
        if isinstance(change, Left):
            self._broker.hide(change.sid, self._lanes, change.room)
        return ChangeResult.DONE

    def _store(self, client: ClientConnected) -> None:
        sid, holder = client.sid, client.holder or io_node_of(client.sid)
        record = self._broker.clients.get(sid)
        encoded = msgspec.msgpack.encode(client)
        if record is None:
            record = self._broker.clients[sid] = MemoryClient(
                encoded, client.namespace, client.transport, holder, client.generation, client.pid_hash
            )
            record.connected_at = self._broker.clock()
        elif client.generation < record.generation:
            return
        record.connected, record.transport, record.generation = encoded, client.transport, client.generation
        self._broker.clients_of[record.holder].discard(sid)
        record.holder = holder
        self._broker.clients_of[holder].add(sid)

    def _forget(self, sid: str) -> None:
        self._broker.hide_all(sid, self._lanes)
        del self._broker.clients[sid]
        log = self._broker.streams[self._keys.inbox(io_node_of(sid))].log
        if log is not None:
            log.rooms.pop(sid, None)
            for name in marks_of_client(sid):
                log.marks.pop(name, None)

    def _has_log(self, home: str) -> bool:
        return self._broker.streams[self._keys.inbox(home)].log is not None

    def _is_over(self, record: MemoryClient) -> bool:
        return record.away_until is not None and record.away_until <= self._broker.clock()


def clients_at(broker: MemoryBroker, home: str) -> set[str]:
    """The clients of this home that have a record."""
    return {sid for sid in broker.clients if io_node_of(sid) == home}


def absent(broker: MemoryBroker, home: str) -> set[str]:
    """Those that are away, or held by another io-node."""
    records = {sid: broker.clients[sid] for sid in clients_at(broker, home)}
    return {sid for sid, record in records.items() if record.away_until is not None or record.holder != home}


def record_of(client: MemoryClient) -> ClientRecord:
    """A copy of what is known of this client."""
    return ClientRecord(
        _connected(client),
        client.session,
        set(client.rooms),
        client.accepted,
        client.transport,
        client.restoring,
        client.away_until is not None,
        client.let_in,
        client.connected_at,
    )


def _connected(record: MemoryClient) -> ClientConnected:
    """How the client connected last, with its present holder and generation."""
    connected = msgspec.msgpack.decode(record.connected, type=ClientConnected)
    if connected.generation == record.generation:
        return connected
    holder = "" if record.holder == io_node_of(connected.sid) else record.holder
    return msgspec.structs.replace(connected, holder=holder, generation=record.generation)


def _apply(client: MemoryClient, change: Accepted | Joined | Left | Upgraded | Restoring) -> None:
    match change:
        case Accepted(generation=generation):
            client.accepted = True
            client.let_in = generation
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
