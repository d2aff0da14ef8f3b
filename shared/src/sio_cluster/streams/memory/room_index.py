"""Who is connected, and who is in which room: by the records."""

from collections import Counter
from collections.abc import Iterator

from sio_cluster.protocol.errors import IndexNotExact
from sio_cluster.protocol.ids import lane_of, node_of
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.records import ClientRecord
from sio_cluster.streams.api.room_index import PAGE_LIMIT, RecordPage
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryClient
from sio_cluster.streams.memory.records import record_of


class MemoryRoomIndex:
    """`api.room_index.RoomIndex`."""

    def __init__(self, broker: MemoryBroker, lanes: int) -> None:
        self._broker = broker
        self._lanes = lanes

    async def count(self, namespace: str, room: Room | None = None) -> int:
        async with self._broker.operation():
            return len(members(self._broker, namespace, room))

    async def counts(self, namespace: str, prefix: str = "") -> dict[Room, int]:
        async with self._broker.operation():
            counts = Counter(room for client in members(self._broker, namespace).values() for room in client.rooms)
            if not prefix:
                return dict(counts)
            return {room: n for room, n in counts.items() if isinstance(room, str) and room.startswith(prefix)}

    async def page(
        self, namespace: str, room: Room | None = None, limit: int = 1000, cursor: str | None = None
    ) -> RecordPage:
        if not 0 < limit <= PAGE_LIMIT:
            raise ValueError(f"a page has 1 to {PAGE_LIMIT} clients, not {limit}")
        if cursor is not None and node_of(cursor) is None:
            raise ValueError(f"{cursor!r} is no cursor of a page")
        async with self._broker.operation():
            inside = members(self._broker, namespace, room)
            sids = sorted(inside, key=self._place)
            if cursor is not None:
                sids = [sid for sid in sids if self._place(sid) > self._place(cursor)]
            records = [record_of(inside[sid]) for sid in sids[:limit]]
            return RecordPage(records, sids[limit - 1] if len(sids) > limit else None)

    async def is_exact(self) -> bool:
        async with self._broker.operation():
            return self._broker.index_is_exact

    async def restore(self) -> None:
        async with self._broker.operation():
            self._broker.index_is_exact = True

    def _place(self, sid: str) -> tuple[int, str]:
        return lane_of(sid, self._lanes), sid


class MemoryLookup:
    """`api.room_index.Lookup`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def record(self, sid: str) -> ClientRecord | None:
        self._broker.check()
        client = self._broker.clients.get(sid)
        return None if client is None else record_of(client)

    def sids(self, namespace: str, room: Room | None = None) -> Iterator[str]:
        self._broker.check()
        yield from sorted(members(self._broker, namespace, room))


def members(broker: MemoryBroker, namespace: str, room: Room | None = None) -> dict[str, MemoryClient]:
    """The connected clients of this namespace (and room). Raises IndexNotExact."""
    if not broker.index_is_exact:
        raise IndexNotExact("nodes of an older release have changed rooms: the room index is being built anew")
    return {
        sid: client
        for sid, client in broker.clients.items()
        if client.namespace == namespace
        and client.accepted
        and client.away_until is None
        and (room is None or room in client.rooms)
    }
