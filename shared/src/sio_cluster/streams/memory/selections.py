"""Selections of clients: `api.selections.Selections`."""

from collections.abc import Sequence
from dataclasses import dataclass

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.selections import LEFT_MS, Candidates, Cursor, Matched, RoomsChange, Selection
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryClient

_AT_ONCE = 20
"""Few, so that tests see more than one page."""


@dataclass(frozen=True, slots=True)
class _Behind(Cursor):
    """All up to this sid, in alphabetical order, were named."""

    sid: str


class MemorySelections:
    """Looks at every client."""

    def __init__(self, broker: MemoryBroker, lanes: int) -> None:
        self._broker = broker
        self._lanes = lanes

    async def candidates(
        self, selection: Selection, cursor: Cursor | None = None, *, left: Sequence[Room] = ()
    ) -> Candidates:
        assert cursor is None or isinstance(cursor, _Behind)
        async with self._broker.operation():
            noted = self._left(selection.namespace, left)
            sids = sorted(
                sid
                for sid, client in self._broker.clients.items()
                if (cursor is None or sid > cursor.sid) and (_is_in(sid, client, selection.to) or sid in noted)
            )
            page = sids[:_AT_ONCE]
            return Candidates(page, _Behind(page[-1]) if len(sids) > _AT_ONCE else None)

    async def change(
        self,
        selection: Selection,
        sids: Sequence[str],
        change: RoomsChange | None = None,
        lease: Lease | None = None,
        *,
        again: bool = False,
    ) -> Matched:
        matched, fenced = Matched(), False
        async with self._broker.operation():
            for sid in sids:
                if self._broker.is_fenced(sid, self._lanes, lease):
                    fenced = True
                    continue
                client = self._broker.clients.get(sid)
                if client is None or client.namespace != selection.namespace:
                    continue
                matches = _is_in(sid, client, selection.to) and not _is_in(sid, client, selection.except_rooms)
                if matches and change is not None:
                    self._apply(sid, client, change)
                    self._note(sid, selection.namespace, change)
                if matches or (again and change is not None and _has_it_already(sid, client, change)):
                    (matched.here if client.away_until is None else matched.away).append(sid)
        if fenced:
            raise LeaseLost("rooms were not changed: another app-node holds the lane")
        return matched

    def _note(self, sid: str, namespace: str, change: RoomsChange) -> None:
        for room in change.noted:
            self._broker.left[namespace, room][sid] = self._broker.clock() + LEFT_MS / 1000

    def _left(self, namespace: str, rooms: Sequence[Room]) -> set[str]:
        now = self._broker.clock()
        return {sid for room in rooms for sid, until in self._broker.left[namespace, room].items() if until > now}

    def _apply(self, sid: str, client: MemoryClient, change: RoomsChange) -> None:
        if change.inside:
            client.rooms.update(change.rooms)
            return
        client.rooms.difference_update(change.rooms)
        for room in change.rooms:
            self._broker.hide(sid, self._lanes, room)


def _is_in(sid: str, client: MemoryClient, rooms: tuple[Room, ...] | None) -> bool:
    return rooms is None or sid in rooms or not client.rooms.isdisjoint(rooms)


def _has_it_already(sid: str, client: MemoryClient, change: RoomsChange) -> bool:
    return all((room == sid or room in client.rooms) is change.inside for room in change.rooms)
