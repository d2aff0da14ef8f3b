"""The log of one home in memory, so that thousands of clients may ask what they missed. Pure.

What a client is told follows from its rooms at one place in the log, the horizon, and from all that the log says of
rooms behind it. So it is a member at each place exactly as it was, or would have been, while it was connected.

Events are indexed by room, the sid of each client being one; what changes rooms is indexed by client and by room. One
question costs what it finds, and a look at each room of the client: a client may be in 10,000. So `events` pauses in
between.

A log may hold a million events, so what is kept of each is small. A place is a number (`pack`), and equal texts are one
object.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from heapq import merge
from typing import NamedTuple, TypeAlias, assert_never

from io_node.engineio.api import Outbound
from io_node.recovery.log_items import (
    ACCEPTED_BYTES,
    CLOSED_BYTES,
    DROPPED_BYTES,
    END,
    IN_ROOM_BYTES,
    LIST_BYTES,
    OP_BYTES,
    Event,
    Excepted,
    Messages,
    Names,
    RoomOp,
    Stay,
    Stretches,
    between,
    place_of,
    span,
    stays,
)
from io_node.socketio.client import RoomsAt
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    Canary,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectMany,
    Emit,
    Evict,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Refuse,
    Room,
)
from sio_cluster.protocol.recovery import START, Position, pack, position_of, unpack
from sio_cluster.streams.api.homes import AtHorizon

_LOOKS = 250
"""How many rooms are looked at between two pauses."""
_FEW = 10
"""The events of rooms in which the client missed no more are sorted at once, `_LOOKS` rooms at a time. To merge ten
thousand rooms one by one would take long before the first event comes."""

_SHORTENED = 1_000
"""So many rooms, or changes of rooms, are looked at between two pauses."""

_Scope: TypeAlias = tuple[str, Room | None]
"""A room of a namespace; None: the whole namespace."""


class Since(NamedTuple):
    """From where a client is told what it missed: behind these places. Broadcasts to its namespace have their own."""

    rooms: Position
    everyone: Position


class HomeLog:
    """What the log of a home says from its horizon on. `add` its entries in order.

    `entries`: of how many entries it holds what they say.
    `shorten` drops events, the oldest first. Who missed one of these is told by `has_all`.
    """

    def __init__(self) -> None:
        self.entries = 0
        self._held = 0
        self._events: dict[_Scope, list[Event]] = {}
        self._ops: dict[str, list[RoomOp]] = {}
        self._closed: dict[str, dict[Room, list[int]]] = defaultdict(lambda: defaultdict(list))
        self._accepted: dict[str, int] = {}
        self._names = Names()
        self._messages = Messages()
        self._stretches = Stretches()
        self._last = 0
        self._cut = 0
        """Up to this place events were dropped."""
        self._dropped: dict[_Scope, int] = {}
        """Where the last one stood that was dropped of each room and namespace."""
        self._is_torn = False

    @property
    def size(self) -> int:
        """How many bytes all that takes, about, which the log holds. Messages that were made come on top."""
        return self._held + self._names.size

    @property
    def is_cut(self) -> bool:
        """Whether events were dropped."""
        return self._cut > 0

    def add(self, entry_id: bytes, commands: Iterable[Command], first: int = 0) -> None:
        """The next entry, or the next part of one: the commands from number `first` on."""
        if self._is_torn:
            return
        milliseconds, number, _ = position_of(entry_id, 0)
        for place, command in enumerate(commands, pack(milliseconds, number, first)):
            self._last = place
            match command:
                case Emit():
                    if command.ack is None and not command.volatile:
                        self._add_event(place, command)
                case Join(sid, room):
                    self._add_op(sid, RoomOp(place, self._names.one(room), True))
                case Leave(sid, room):
                    self._add_op(sid, RoomOp(place, self._names.one(room), False))
                case JoinMany(sids, rooms) | LeaveMany(sids, rooms):
                    ops = [RoomOp(place, self._names.one(room), isinstance(command, JoinMany)) for room in rooms]
                    for sid in sids:
                        for op in ops:
                            self._add_op(sid, op)
                case CloseRoom(namespace, room):
                    self._add_closing(namespace, room, place)
                case Accept(sid):
                    if sid not in self._accepted:
                        self._accepted[self._names.one(sid)] = place
                        self._weigh(place, ACCEPTED_BYTES)
                case Ack() | Refuse() | Disconnect() | DisconnectMany() | Evict() | Canary():
                    pass  # concerns nobody's rooms, and is not replayed
                case _:
                    assert_never(command)

    # --- what a client asks

    def since(self, sid: str, at: AtHorizon, offset: Position | None, waited: Position | None = None) -> Since | None:
        """From where on this client is told what it missed. None where the log does not reach so far back.

        `offset`: that of the last event that it has, None where it has none. A client whose first Accept is in the log
        was in no room before the horizon. It may show the offset of an event of a former session: clients keep it.
        `waited`: behind this place it waited for its first Accept, and what was said to everybody was held back for it.
        None: nobody knows.
        """
        accepted = self._accepted.get(sid)
        horizon = unpack(_last_of(at.horizon))
        if sid not in at.rooms and accepted is not None:
            offset = START if offset is None else offset
            everyone = max(offset, unpack(accepted) if waited is None else waited)
            return Since(offset, everyone) if everyone > horizon or everyone == START else None
        if offset is None or offset <= horizon:
            return None
        return Since(offset, offset)

    def has_all(self, sid: str, namespace: str, at: AtHorizon, since: Since) -> bool:
        """Whether no event was dropped that this client missed.

        False also where it may have been none of its events: one that it sent itself and that skipped it, or one from
        before it entered the room.
        """
        rooms, everyone, dropped = pack(*since.rooms), pack(*since.everyone), self._dropped
        if self._is_torn or dropped.get((namespace, None), 0) > everyone:
            return False
        if rooms >= self._cut:
            return True
        in_rooms = self._ops_in_rooms(sid, at, self._cut + 1)
        return all(dropped.get((namespace, room), 0) <= rooms for room in (sid, *in_rooms))

    def rooms(self, sid: str, namespace: str, at: AtHorizon, until: Position, told: Position = END) -> RoomsAt:
        """The client's rooms at the place `until`, before the command there.

        `at`: its rooms at the horizon. `closed` of the result: the rooms that it lost behind `told` by their closing.
        """
        rooms: set[Room] = set()
        closed: list[Room] = []
        closings = self._closed.get(namespace, {})
        end, known = pack(*until), pack(*told)
        for room, ops in self._ops_in_rooms(sid, at, end).items():
            if room not in closings:
                if not ops or ops[-1].inside:
                    rooms.add(room)
                continue
            in_room = self._stays_in(room, namespace, at, ops, end)
            if in_room and in_room[-1].end >= end:
                rooms.add(room)
            elif in_room and in_room[-1].closed and in_room[-1].end > known:
                closed.append(room)
        return RoomsAt(rooms, closed)

    def events(
        self, sid: str, namespace: str, at: AtHorizon, since: Since, until: Position
    ) -> Iterator[Outbound | None]:
        """What the client missed up to `until`, without the command there, in order. None: a pause, in which other
        work may be done. Each event is looked up as it is asked for; what is added to the log meanwhile makes no
        difference."""
        begin, end = pack(*since.rooms), pack(*until)
        found = [
            between(self._events.get((namespace, None), ()), pack(*since.everyone), end),
            between(self._events.get((namespace, sid), ()), begin, end),
        ]
        few: list[Event] = []
        for number, (room, ops) in enumerate(self._ops_in_rooms(sid, at, end).items(), 1):
            if number % _LOOKS == 0:
                found.append(iter(sorted(few, key=place_of)))
                few = []
                yield None
            events = self._events.get((namespace, room))
            if not events or events[-1].place <= begin:
                continue
            for stay in self._stays_in(room, namespace, at, ops, end):
                missed = span(events, max(stay.begin, begin), min(stay.end, end))
                if len(missed) <= _FEW:
                    few += [events[index] for index in missed]
                else:
                    found.append(map(events.__getitem__, missed))
        found.append(iter(sorted(few, key=place_of)))
        last = -1
        excepted = Excepted(lambda room: self._stays(sid, room, namespace, at, end))
        for event in merge(*found, key=place_of):
            if event.place != last and sid not in event.skip and not excepted.concerns(event):
                yield self._messages.of(event)
            last = event.place

    # --- what is dropped

    def shorten(self, max_bytes: int) -> Iterator[None]:
        """Drop the oldest events until all takes no more than that. Call it before the first question.

        What they said of rooms stays, as far as it still tells in which rooms each client is. If that alone is too
        much, everything goes, and nobody `has_all` any more. Pauses, as `events`.
        """
        while self.size > max_bytes and self._cut < self._last:
            gone = self._stretches.cut(self.size - max_bytes)
            self._cut = gone.last or self._last
            self._held -= gone.events_size
            self.entries -= gone.entries
            yield from self._drop_events()
            yield from self._join_ops()
        if self.size > max_bytes:
            self._tear()

    def _drop_events(self) -> Iterator[None]:
        for number, (scope, events) in enumerate(list(self._events.items()), 1):
            count = bisect_right(events, self._cut, key=place_of)
            if count:
                self._held += 0 if scope in self._dropped else DROPPED_BYTES
                self._dropped[scope] = events[count - 1].place
                del events[:count]
            if not events:
                del self._events[scope]
                self._held -= LIST_BYTES
            if number % _SHORTENED == 0:
                yield

    def _join_ops(self) -> Iterator[None]:
        """What is said of a client and a room up to the cut comes to what was said last."""
        number = 0
        for ops in self._ops.values():
            count = bisect_right(ops, self._cut, key=place_of)
            last = {op.room: op for op in ops[:count]}
            if len(last) < count:
                ops[:count] = sorted(last.values(), key=place_of)
                self._held -= (count - len(last)) * OP_BYTES
            number += 1 + count
            if number > _SHORTENED:
                number = 0
                yield
        for closings in self._closed.values():
            for places in closings.values():
                count = bisect_right(places, self._cut)
                if count > 1:
                    del places[: count - 1]
                    self._held -= (count - 1) * CLOSED_BYTES
                number += 1
                if number > _SHORTENED:
                    number = 0
                    yield

    def _tear(self) -> None:
        self._is_torn = True
        self._held = self.entries = 0
        self._names, self._stretches = Names(), Stretches()
        for held in (self._events, self._ops, self._closed, self._accepted, self._dropped):
            held.clear()

    # --- what it holds

    def _add_event(self, place: int, emit: Emit) -> None:
        one = self._names.one
        event = Event(place, emit, [one(sid) for sid in emit.skip], [one(room) for room in emit.except_rooms])
        rooms: set[Room | None] = {None} if emit.to is None else {*emit.to}
        size = event.size + len(rooms) * IN_ROOM_BYTES
        for room in rooms:
            scope = emit.namespace, room
            events = self._events.get(scope)
            if events is None:
                events = self._events[
                    self._names.one(emit.namespace), room if room is None else self._names.one(room)
                ] = []
                self._held += LIST_BYTES
            events.append(event)
        self._weigh(place, size, size)

    def _add_op(self, sid: str, op: RoomOp) -> None:
        ops = self._ops.get(sid)
        if ops is None:
            ops = self._ops[self._names.one(sid)] = []
            self._held += LIST_BYTES
        ops.append(op)
        self._weigh(op.place, OP_BYTES)

    def _add_closing(self, namespace: str, room: Room, place: int) -> None:
        closings = self._closed[namespace]
        if room not in closings:
            self._held += LIST_BYTES
        closings[self._names.one(room)].append(place)
        self._weigh(place, CLOSED_BYTES)

    def _weigh(self, place: int, size: int, events_size: int = 0) -> None:
        """What stands there takes so many bytes. `events_size`: as many of these go when its events are dropped."""
        self._held += size
        self.entries += self._stretches.add(place, size, events_size)

    def _ops_in_rooms(self, sid: str, at: AtHorizon, until: int) -> dict[Room, list[RoomOp]]:
        """Of each room in which the client may have been: what is said of it between the horizon and this place."""
        none: list[RoomOp] = []
        in_rooms: dict[Room, list[RoomOp]] = dict.fromkeys(at.rooms, none)
        ops, horizon = self._ops.get(sid, none), _last_of(at.horizon)
        for op in ops[bisect_right(ops, horizon, key=place_of) : bisect_left(ops, until, key=place_of)]:
            if known := in_rooms.get(op.room):
                known.append(op)
            else:
                in_rooms[op.room] = [op]
        in_rooms.pop(sid, None)
        return in_rooms

    def _stays(self, sid: str, room: Room, namespace: str, at: AtHorizon, until: int) -> list[Stay]:
        """From where to where this client was in this room behind the horizon."""
        ops = self._ops.get(sid, ())
        begin, end = bisect_right(ops, _last_of(at.horizon), key=place_of), bisect_left(ops, until, key=place_of)
        return self._stays_in(room, namespace, at, [op for op in ops[begin:end] if op.room == room], until)

    def _stays_in(self, room: Room, namespace: str, at: AtHorizon, ops: list[RoomOp], until: int) -> list[Stay]:
        """From where to where a client was in this room behind the horizon. `ops`: those that concern the room."""
        horizon = _last_of(at.horizon)
        places = self._closed.get(namespace, {}).get(room, ())
        closed = places[bisect_right(places, horizon) : bisect_left(places, until)]
        return list(stays(room in at.rooms, horizon, ops, closed))


def _last_of(entry_id: bytes) -> int:
    """Behind all commands of this entry."""
    milliseconds, number, _ = position_of(entry_id, 0)
    return pack(milliseconds, number, 2**24 - 1)
