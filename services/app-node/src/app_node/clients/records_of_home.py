"""Who of a home's clients is asked, where its io-node does not say it: their records say who they are.

A home may have 10,000 clients, and a room 5. So the room index names those who may be in the rooms that are asked, and
only their records are read.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass

from app_node.clients.record_access import RecordAccess
from app_node.counters import Counters
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.records import ClientRecord
from sio_cluster.streams.api.room_index import RoomIndex
from sio_cluster.streams.api.selections import Candidates, Cursor, Selection, Selections

RECORDS = 500
"""How many records are read together."""


@dataclass(frozen=True, slots=True)
class To:
    """Who is asked: of this namespace whoever is in one of these rooms (None: everybody), but not who is skipped, nor
    who is in one of `except_rooms`."""

    namespace: str
    rooms: Sequence[Room] | None
    skip: Sequence[str]
    except_rooms: Sequence[Room] = ()

    def has(self, record: ClientRecord) -> bool:
        """Whether the client of this record belongs to them."""
        sid = record.connected.sid
        if record.connected.namespace != self.namespace or not record.accepted or sid in self.skip:
            return False
        if not record.rooms.isdisjoint(self.except_rooms):
            return False
        return self.rooms is None or sid in self.rooms or not record.rooms.isdisjoint(self.rooms)

    @property
    def named(self) -> list[str]:
        """The sids among the rooms, which are expected whatever io-nodes say, unless an exception holds for them."""
        rooms = self.rooms or ()
        return [room for room in rooms if isinstance(room, str) and node_of(room) is not None and room not in self.skip]


class RecordsOfHome:
    """Reads records. Each call waits until Redis answers."""

    def __init__(
        self, records: RecordAccess, selections: Selections, room_index: RoomIndex, counters: Counters
    ) -> None:
        self._records = records
        self._selections = selections
        self._room_index = room_index
        self._retry = Retry("records_of_home", counters.redis_retries)

    async def asked(self, home: str, to: To) -> AsyncIterator[ClientRecord]:
        """The records of this home's clients that belong to those who are asked."""
        sids = list(await self._candidates(home, to))
        for start in range(0, len(sids), RECORDS):
            for record in await asyncio.gather(*map(self._records.load, sids[start : start + RECORDS])):
                if record is not None and to.has(record):
                    yield record

    async def _candidates(self, home: str, to: To) -> Collection[str]:
        """This home's clients of which the room index says that they may be asked. All of them, where everybody is
        asked, the rooms have more members than the home has clients, or the index is not exact."""
        if to.rooms is None or not await self._retry.call(self._room_index.is_exact):
            return await self._records.clients_of_home(home)
        selection, cursor = Selection(to.namespace, tuple(to.rooms)), None
        found: set[str] = set()
        seen, of_home = 0, None
        while True:
            page = await self._page(selection, cursor)
            found.update(sid for sid in page.sids if node_of(sid) == home)
            cursor = page.cursor
            if cursor is None:
                return found
            seen += len(page.sids)
            of_home = await self._records.clients_of_home(home) if of_home is None else of_home
            if seen > len(of_home):
                return of_home

    async def _page(self, selection: Selection, cursor: Cursor | None) -> Candidates:
        return await self._retry.call(lambda: self._selections.candidates(selection, cursor))
