"""Tells administrators what clients do, as it happens: in development mode, while somebody watches.

Bounds, for each app-node: five times a second it says at most MOST_CHANGES changes (of clients and rooms) and
MOST_EVENTS events of the application. Of further events the page gets the number. Where a change is left out, the page
gets the whole list of clients anew. Of one event it sees MOST_BYTES, and no binary data.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from app_node.admin.sockets import serialized, timestamp
from app_node.clients.queries import ClientQueries
from app_node.downlink.landing import landing_as_one
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.records import ClientRecord

log = structlog.get_logger()

PAUSE_S = 0.2
MOST_CHANGES = 100
MOST_EVENTS = 20
MOST_BYTES = 1_000
MOST_LEVELS = 20
"""An argument that is nested deeper is not shown."""
MOST_RECIPIENTS = 20
"""An emit to more sids is shown as one event."""
_TRIES = 5
"""So often it is looked whether a client that came is in Redis."""

Tell = Callable[..., Awaitable[None]]
"""`tell(event, *args, volatile=...)`: to all who watch."""


@dataclass(slots=True)
class _Came:
    """A client that was let in. Its record says the rest, when it is written."""

    sid: str
    at: str
    tries: int = 0


@dataclass(slots=True)
class _Change:
    event: str
    args: tuple[Any, ...]


class Feed:
    """The `Observer` of one app-node. `run` is a loop for as long as the node lives."""

    def __init__(
        self, namespace: str, queries: ClientQueries, tell: Tell, *, clock: Callable[[], float] = time.time
    ) -> None:
        """`namespace`: that of administrators. What is emitted there is not shown. `clock`: seconds since 1970."""
        self._namespace = namespace
        self._queries = queries
        self._tell = tell
        self._clock = clock
        self._changes: deque[_Came | _Change] = deque()
        self._events: list[tuple[str, tuple[Any, ...]]] = []
        self._left_out = 0
        self._wake = asyncio.Event()
        self.is_incomplete = False
        """Whether a change was left out since this was last set to False."""

    # --- what it sees

    def came(self, sid: str, namespace: str) -> None:
        self._add(_Came(sid, self._now()))

    def went(self, sid: str, namespace: str, reason: str) -> None:
        self._add(_Change("socket_disconnected", (namespace, sid, reason, self._now())))

    def upgraded(self, sid: str, namespace: str, transport: str) -> None:
        self._add(_Change("socket_updated", ({"id": sid, "nsp": namespace, "transport": transport},)))

    def entered(self, sid: str, namespace: str, room: Room) -> None:
        self._add(_Change("room_joined", (namespace, room, sid, self._now())))

    def left(self, sid: str, namespace: str, room: Room) -> None:
        self._add(_Change("room_left", (namespace, room, sid, self._now())))

    def missed(self) -> None:
        self.is_incomplete = True

    def received(self, sid: str, namespace: str, event: Sequence[Any]) -> None:
        if namespace != self._namespace:
            self._show("event_received", namespace, [sid], event)

    def sent(self, namespace: str, to: Sequence[Room] | None, event: Sequence[Any]) -> None:
        if namespace != self._namespace:
            self._show("event_sent", namespace, _names(to), event)

    def _add(self, change: _Came | _Change) -> None:
        if len(self._changes) >= MOST_CHANGES:
            self.is_incomplete = True
            return
        self._changes.append(change)
        self._wake.set()

    def _show(self, kind: str, namespace: str, names: list[str], event: Sequence[Any]) -> None:
        self._wake.set()
        for name in names:
            if len(self._events) >= MOST_EVENTS:
                self._left_out += 1
            else:
                self._events.append((kind, (namespace, name, _shortened(event), self._now())))

    def _now(self) -> str:
        return timestamp(self._clock())

    # --- what it tells

    async def run(self) -> None:
        """Waits while there is nothing to tell. What cannot be told is left out, and the page gets the list anew."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(PAUSE_S)
            self._wake.clear()
            try:
                await self.flush()
            except Exception:  # a defect of ours must not end the node, which does not need administrators
                log.exception("admin_feed_failed")
                self.is_incomplete = True

    def forget(self) -> None:
        """Nobody watches any more."""
        self._changes.clear()
        self._events.clear()
        self._left_out = 0

    async def flush(self) -> None:
        """Tells what there is. Returns when Redis has it."""
        changes, events, left_out = [*self._changes], self._events, self._left_out
        self._changes.clear()
        self._events, self._left_out = [], 0
        records = await self._records([change.sid for change in changes if isinstance(change, _Came)])
        with landing_as_one() as landing:
            await self._tell_changes(changes, records)
            for kind, args in events:
                await self._tell(kind, *args, volatile=True)
            if left_out:
                note = [f"({left_out} events were left out)"]
                await self._tell("event_received", "/", "", note, self._now(), volatile=True)
        await landing.landed()

    async def _records(self, sids: list[str]) -> dict[str, ClientRecord]:
        found = await asyncio.gather(*map(self._queries.one, sids))
        return {record.connected.sid: record for record in found if record is not None}

    async def _tell_changes(self, changes: list[_Came | _Change], records: dict[str, ClientRecord]) -> None:
        _leave_to_changes([*changes, *self._changes], records)
        for change in changes:
            if isinstance(change, _Change):
                await self._tell(change.event, *change.args)
                continue
            record = records.get(change.sid)
            if record is not None:
                await self._tell("socket_connected", serialized(record), change.at)
            elif change.tries < _TRIES:  # its record is about to be written, or it has gone
                change.tries += 1
                self._add(change)


def _leave_to_changes(changes: list[_Came | _Change], records: dict[str, ClientRecord]) -> None:
    """Takes out of the records of those that came the rooms that they entered later, which is told by itself. The page
    would list a client twice in such a room. And where it knew the client already, it would not take the room."""
    entered: dict[str, set[Room]] = {}
    for change in reversed(changes):
        if isinstance(change, _Came):
            if change.sid in records:
                records[change.sid].rooms -= entered.get(change.sid, set())
        elif change.event == "room_joined":
            _, room, sid, _ = change.args
            entered.setdefault(sid, set()).add(room)


def _names(to: Sequence[Room] | None) -> list[str]:
    """Whom the page shows as the receiver: each sid, or a word for all."""
    if to is None:
        return ["(everybody)"]
    sids, rooms = [], []
    for room in to:
        if isinstance(room, str) and node_of(room) is not None:
            sids.append(room)
        else:
            rooms.append(str(room))
    if not rooms and len(sids) <= MOST_RECIPIENTS:
        return sids
    return [f"(rooms: {', '.join(rooms)[:100]})" if rooms else f"({len(to)} clients)"]


def _shortened(event: Sequence[Any]) -> list[Any]:
    """The event's name and its arguments. In place of what is too large or binary stands what it was."""
    name, *args = event
    name = (
        str(name)[:100].encode(errors="replace").decode()
    )  # half of a surrogate pair: not every json module writes it
    try:
        size = len(msgspec.json.encode(args))
        shown = [_without_bytes(arg) for arg in args] if size <= MOST_BYTES else [f"({size:,} bytes)"]
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError):
        return [name, "(cannot be shown)"]
    return [name, *shown]


def _without_bytes(value: Any, levels: int = MOST_LEVELS) -> Any:
    """What every json module writes. Raises RecursionError where it is nested deeper than that."""
    if isinstance(value, bytes | bytearray):
        return f"({len(value):,} bytes)"
    if value is None or isinstance(value, str | int | float):
        return value
    if not isinstance(value, dict | list | tuple):  # the application's own json module makes such
        return f"({type(value).__name__})"
    if not levels:
        raise RecursionError
    if isinstance(value, dict):
        return {str(key): _without_bytes(item, levels - 1) for key, item in value.items()}
    return [_without_bytes(item, levels - 1) for item in value]
