"""Changes rooms of all clients that match, or disconnects them, in the whole cluster.

The records say who matches. They are changed first, some clients at a time, and then each home gets one command with
the sids of those of its clients: what the records say, the io-nodes do. So an emit that follows finds everybody there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from app_node.clients.client import Clients, State
from app_node.clients.departures import Departures
from app_node.clients.record_access import RecordAccess
from app_node.counters import Counters
from app_node.downlink.emitter import Emitter
from app_node.downlink.record_writer import RecordWriter
from app_node.downlink.routes import Routes
from app_node.lanes.progress import open_progress
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import NodesTooOld
from sio_cluster.protocol.messages import SERVER_LEVEL, Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.selections import MOST_PAIRS, Candidates, Cursor, Matched, RoomsChange, Selection
from sio_cluster.streams.api.selections import Selections as BusSelections

WAVE_SIZE: Final = 1_000
"""So many clients are disconnected, in the whole cluster, before it waits for `WAVE_S`."""
WAVE_S: Final = 0.1


class Selections:
    """What the application says of all clients that match. All methods raise LeaseLost in a handler whose lane was
    lost: the next holder runs it again."""

    def __init__(
        self,
        selections: BusSelections,
        *,
        clients: Clients,
        records: RecordAccess,
        departures: Departures,
        writer: RecordWriter,
        routes: Routes,
        emitter: Emitter,
        counters: Counters,
    ) -> None:
        self._selections = selections
        self._clients = clients
        self._records = records
        self._departures = departures
        self._writer = writer
        self._routes = routes
        self._emitter = emitter
        self._retry = Retry("selections", counters.redis_retries)

    async def change_rooms(self, selection: Selection, rooms: Sequence[Room], *, inside: bool) -> None:
        """Who matches enters these rooms, or leaves them. At most `MOST_ROOMS`. Raises NodesTooOld.

        A change may be of what selects: who has left room "a" is not found by it any more. If the app-node dies before
        the io-nodes are told, the handler runs again, and has to find them: those who left are noted. Outside of
        handlers nobody knows whether this was called before. So those who left are told again, which changes nothing
        where they were told.
        """
        await self._routes.require_level(SERVER_LEVEL, "a change of rooms for all who match")
        tell = self._emitter.join_many if inside else self._emitter.leave_many
        selecting = selection.except_rooms if inside else selection.to or ()
        undone = tuple(room for room in rooms if room in selecting)
        change = RoomsChange(tuple(rooms), inside, () if inside else undone)
        repeated = bool(undone) and _may_be_repeated(inside)
        await self._each(selection, change, lambda matched: tell(_all(matched), rooms), repeated=repeated)

    async def close_room(self, namespace: str, room: Room) -> None:
        """Everybody leaves the room.

        At last, each io-node is told to close it: Redis may have lost its data, and with it who was in there. Where a
        node is too old for more, that must do.
        """
        try:
            await self._routes.require_level(SERVER_LEVEL, "LeaveMany")
            by_name = True
        except NodesTooOld:
            by_name = False

        async def tell(matched: Matched) -> None:
            if by_name:
                await self._emitter.leave_many(_all(matched), [room])

        await self._each(Selection(namespace, (room,)), RoomsChange((room,), inside=False), tell)
        await self._emitter.close_room(namespace, room)

    async def disconnect(self, selection: Selection, *, close: bool) -> None:
        """Who matches is disconnected, in waves; with `close`, with its whole connection. Raises NodesTooOld.

        Each disconnect handler runs when the client's io-node reports it, on the holder of the client's lane.
        """
        await self._routes.require_level(SERVER_LEVEL, "the disconnect of all who match")
        in_wave = 0

        async def send_away(matched: Matched) -> None:
            nonlocal in_wave
            if in_wave >= WAVE_SIZE:
                await asyncio.sleep(WAVE_S)
                in_wave = 0
            in_wave += len(matched.here) + len(matched.away)
            await asyncio.gather(*map(self._keep_away, matched.away))
            pending = {sid for sid in matched.here if self._is_turned_away(sid)}
            await self._emitter.disconnect_many([sid for sid in _all(matched) if close or sid not in pending], close)

        await self._each(selection, None, send_away)

    async def _keep_away(self, sid: str) -> None:
        record = await self._records.load(sid)
        if record is not None and record.away:
            await self._departures.keep_away(record, open_progress())

    def _is_turned_away(self, sid: str) -> bool:
        """Whether its connect handler runs here. Then the client is refused when that ends."""
        client = self._clients.get(sid)
        if client is None or client.state is not State.CONNECTING:
            return False
        client.turned_away = True
        return True

    async def _each(
        self,
        selection: Selection,
        change: RoomsChange | None,
        then: Callable[[Matched], Awaitable[None]],
        *,
        repeated: bool = False,
    ) -> None:
        """Changes the records of all who match, and calls `then` with some of them after the other.

        `repeated`: those count too whose records another app-node has changed by this before it died.
        """
        progress = open_progress()
        lease = None if progress is None else progress.lane.lease
        named = 1 if change is None else len(change.rooms)
        size = max(1, MOST_PAIRS // (named + len(selection.except_rooms) + len(selection.to or ())))
        await self._writer.caught_up()  # what handlers here have changed counts
        cursor: Cursor | None = None
        seen: set[str] = set()  # where it is repeated: who leaves here is among those who left, and is found again
        with self._clients.noting_changes() as changed:
            while True:
                found = await self._candidates(selection, cursor, change.noted if change and repeated else ())
                sids = [sid for sid in found.sids if sid not in seen]
                if repeated:
                    seen.update(sids)
                for start in range(0, len(sids), size):
                    if progress is not None:
                        progress.lane.require_held()
                    matched = await self._change(selection, sids[start : start + size], change, lease, again=repeated)
                    if change is not None:
                        self._take_over(matched, change, changed)
                    if matched.here or matched.away:
                        await then(matched)
                cursor = found.cursor
                if cursor is None:
                    return

    async def _candidates(self, selection: Selection, cursor: Cursor | None, left: Sequence[Room]) -> Candidates:
        return await self._retry.call(lambda: self._selections.candidates(selection, cursor, left=left))

    async def _change(
        self, selection: Selection, sids: Sequence[str], change: RoomsChange | None, lease: Lease | None, *, again: bool
    ) -> Matched:
        async def once() -> Matched:
            nonlocal again
            was_tried, again = again, True
            return await self._selections.change(selection, sids, change, lease, again=was_tried)

        return await self._retry.call(once)

    def _take_over(self, matched: Matched, change: RoomsChange, changed: set[tuple[str, Room]]) -> None:
        """What is known here of these clients is as their records are. Except for rooms that a handler here has
        changed meanwhile: for these, the fact that comes has the record read."""
        for sid in _all(matched):
            client = self._clients.get(sid)
            if client is None or client.state is State.UNKNOWN:
                continue
            for room in change.rooms:
                if (sid, room) not in changed:
                    client.set_room(room, inside=change.inside)


def _may_be_repeated(inside: bool) -> bool:
    """Whether this change may have been made before by a process that died. Outside of handlers, only who left is found
    again cheaply: all who are in the rooms would count as those who may have entered."""
    progress = open_progress()
    return not inside if progress is None else progress.redelivered


def _all(matched: Matched) -> list[str]:
    return [*matched.here, *matched.away]
