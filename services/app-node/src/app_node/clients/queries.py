"""Questions about all clients of the cluster, whichever app-node holds their lanes. The answers come from Redis."""

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from app_node.clients.record_access import RecordAccess
from app_node.counters import Counters
from app_node.downlink.record_writer import RecordWriter
from app_node.downlink.routes import Routes
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import IndexNotExact
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import SERVER_LEVEL, Room
from sio_cluster.streams.api.records import ClientRecord
from sio_cluster.streams.api.room_index import Lookup, RecordPage, RoomIndex

_T = TypeVar("_T")


class ClientQueries:
    """Each answer counts all that this app-node has changed before it was asked: in handlers, too.

    The async methods wait until Redis answers. They raise NodesTooOld where a registered node does not keep the room
    index, and IndexNotExact (which is one) until it is built anew after that.
    """

    def __init__(
        self,
        records: RecordAccess,
        room_index: RoomIndex,
        lookup: Lookup,
        writer: RecordWriter,
        routes: Routes,
        counters: Counters,
    ) -> None:
        self._records = records
        self._room_index = room_index
        self._lookup = lookup
        self._writer = writer
        self._routes = routes
        self._retry = Retry("queries", counters.redis_retries)

    async def count(self, namespace: str, room: Room | None) -> int:
        """How many clients are connected (and in the room, which may be a sid)."""
        if _is_sid(room):
            return int(await self.one(str(room), namespace) is not None)
        return await self._answer(lambda: self._room_index.count(namespace, room))

    async def counts(self, namespace: str, prefix: str) -> dict[Room, int]:
        """How many connected clients each room has. As `RoomIndex.counts`."""
        return await self._answer(lambda: self._room_index.counts(namespace, prefix))

    async def page(self, namespace: str, room: Room | None, limit: int, cursor: str | None) -> RecordPage:
        """As `RoomIndex.page`. The room may be a sid."""
        if _is_sid(room):
            record = await self.one(str(room), namespace)
            return RecordPage([] if record is None else [record], None)
        return await self._answer(lambda: self._room_index.page(namespace, room, limit, cursor))

    async def one(self, sid: str, namespace: str | None = None) -> ClientRecord | None:
        """The record of this client, if it is connected (to this namespace). Works with nodes of all releases."""
        if not _is_sid(sid):
            return None
        await self._writer.caught_up()
        record = await self._records.load(sid)
        is_meant = record is not None and record.is_here and namespace in (None, record.connected.namespace)
        return record if is_meant else None

    def present_now(self, sid: str, namespace: str) -> ClientRecord | None:
        """The record of a client of this namespace, if it is not away; also while its connect handler runs.

        Makes the thread wait: see `Lookup`.
        """
        record = self._lookup.record(sid) if _is_sid(sid) else None
        if record is None or record.away or record.connected.namespace != namespace:
            return None
        return record

    def sids_now(self, namespace: str, rooms: list[Room] | None) -> Iterator[str]:
        """The connected clients that are in one of these rooms (None: all), each once. Makes the thread wait.

        Nobody where the index is not exact.
        """
        met: set[str] = set()
        for room in [None] if rooms is None else rooms:
            try:
                for sid in self._in_room_now(namespace, room):
                    if sid not in met:
                        yield sid
                    if rooms is not None and len(rooms) > 1:
                        met.add(sid)
            except IndexNotExact:
                return

    def _in_room_now(self, namespace: str, room: Room | None) -> Iterator[str]:
        if not _is_sid(room):
            yield from self._lookup.sids(namespace, room)
            return
        record = self.present_now(str(room), namespace)
        if record is not None and record.is_here:
            yield str(room)

    async def _answer(self, once: Callable[[], Awaitable[_T]]) -> _T:
        await self._writer.caught_up()
        await self._routes.require_level(SERVER_LEVEL, "a question about all clients")
        return await self._retry.call(once)


def _is_sid(room: object) -> bool:
    return isinstance(room, str) and node_of(room) is not None
