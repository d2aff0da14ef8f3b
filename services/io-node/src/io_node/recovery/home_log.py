"""The log of one home in memory, so that thousands of clients may ask what they missed. Pure.

What a client is told follows from its rooms at one place in the log, the horizon, and from all that the log says of
rooms behind it. So it is a member at each place exactly as it was, or would have been, while it was connected.

Events are indexed by room, the sid of each client being one; what changes rooms is indexed by client and by room. One
question costs what it finds, and a look at each room of the client: a client may be in 10,000. So `events` pauses in
between.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from operator import attrgetter
from typing import NamedTuple, TypeAlias, assert_never

from io_node.engineio.api import Outbound
from io_node.socketio.client import RoomsAt
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    Canary,
    CloseRoom,
    Command,
    Disconnect,
    Emit,
    Evict,
    Join,
    Leave,
    Refuse,
    Room,
)
from sio_cluster.protocol.recovery import START, Position, position_of
from sio_cluster.streams.api.homes import AtHorizon

_END = Position(2**63, 0, 0)

_LOOKS = 250
"""How many rooms are looked at between two pauses."""
_FEW = 10
"""The events of rooms in which the client missed no more are sorted at once, `_LOOKS` rooms at a time. To merge ten
thousand rooms one by one would take long before the first event comes."""

_Scope: TypeAlias = tuple[str, Room]
"""A room of a namespace."""


class Since(NamedTuple):
    """From where a client is told what it missed: behind these places. Broadcasts to its namespace have their own."""

    rooms: Position
    everyone: Position


class _Event:
    """An event that may be replayed. `message` is made when the first client gets it, and shared by all."""

    __slots__ = ("emit", "message", "place", "skip")

    def __init__(self, place: Position, emit: Emit) -> None:
        self.place = place
        self.emit = emit
        self.skip = frozenset(emit.skip) if emit.skip else None
        self.message: Outbound | None = None

    def outbound(self) -> Outbound:
        if self.message is None:
            self.message = Outbound(self.emit.packet, self.emit.attachments, False, self.place)
        return self.message


class _RoomOp(NamedTuple):
    place: Position
    room: Room
    inside: bool


_place_of = attrgetter("place")


class HomeLog:
    """What the log of a home says from its horizon on. `add` its entries in order.

    `size`: how many bytes of events it holds.
    """

    def __init__(self) -> None:
        self.size = 0
        self._everyone: dict[str, list[_Event]] = defaultdict(list)
        self._events: dict[_Scope, list[_Event]] = defaultdict(list)
        self._ops: dict[str, list[_RoomOp]] = defaultdict(list)
        self._closed: dict[str, dict[Room, list[Position]]] = defaultdict(lambda: defaultdict(list))
        self._accepted: dict[str, Position] = {}

    def add(self, entry_id: bytes, commands: Iterable[Command], first: int = 0) -> None:
        """The next entry, or the next part of one: the commands from number `first` on."""
        milliseconds, number, _ = position_of(entry_id, 0)
        for index, command in enumerate(commands, first):
            match command:
                case Emit():
                    if command.ack is None and not command.volatile:
                        self._add_event(_Event(Position(milliseconds, number, index), command))
                case Join(sid, room):
                    self._ops[sid].append(_RoomOp(Position(milliseconds, number, index), room, True))
                case Leave(sid, room):
                    self._ops[sid].append(_RoomOp(Position(milliseconds, number, index), room, False))
                case CloseRoom(namespace, room):
                    self._closed[namespace][room].append(Position(milliseconds, number, index))
                case Accept(sid):
                    self._accepted.setdefault(sid, Position(milliseconds, number, index))
                case Ack() | Refuse() | Disconnect() | Evict() | Canary():
                    pass  # concerns nobody's rooms, and is not replayed
                case _:
                    assert_never(command)

    def since(self, sid: str, at: AtHorizon, offset: Position | None, waited: Position | None = None) -> Since | None:
        """From where on this client is told what it missed. None where the log does not reach so far back.

        `offset`: that of the last event that it has, None where it has none. A client whose first Accept is in the log
        was in no room before the horizon. It may show the offset of an event of a former session: clients keep it.
        `waited`: behind this place it waited for its first Accept, and what was said to everybody was held back for it.
        None: nobody knows.
        """
        accepted = self._accepted.get(sid)
        if sid not in at.rooms and accepted is not None:
            offset = START if offset is None else offset
            everyone = max(offset, accepted if waited is None else waited)
            return Since(offset, everyone) if everyone > _last_of(at.horizon) or everyone == START else None
        if offset is None or offset <= _last_of(at.horizon):
            return None
        return Since(offset, offset)

    def rooms(self, sid: str, namespace: str, at: AtHorizon, until: Position, told: Position = _END) -> RoomsAt:
        """The client's rooms at the place `until`, before the command there.

        `at`: its rooms at the horizon. `closed` of the result: the rooms that it lost behind `told` by their closing.
        """
        rooms: set[Room] = set()
        closed: list[Room] = []
        closings = self._closed.get(namespace, {})
        for room, ops in self._ops_in_rooms(sid, at, until).items():
            if room not in closings:
                if not ops or ops[-1].inside:
                    rooms.add(room)
                continue
            stays = self._stays_in(room, namespace, at, ops, until)
            if stays and stays[-1].end >= until:
                rooms.add(room)
            elif stays and stays[-1].closed and stays[-1].end > told:
                closed.append(room)
        return RoomsAt(rooms, closed)

    def events(
        self, sid: str, namespace: str, at: AtHorizon, since: Since, until: Position
    ) -> Iterator[Outbound | None]:
        """What the client missed up to `until`, without the command there, in order. None: a pause, in which other
        work may be done. Each event is looked up as it is asked for; what is added to the log meanwhile makes no
        difference."""
        found = [
            _between(self._everyone.get(namespace, ()), since.everyone, until),
            _between(self._events.get((namespace, sid), ()), since.rooms, until),
        ]
        few: list[_Event] = []
        for number, (room, ops) in enumerate(self._ops_in_rooms(sid, at, until).items(), 1):
            if number % _LOOKS == 0:
                found.append(iter(sorted(few, key=_place_of)))
                few = []
                yield None
            events = self._events.get((namespace, room))
            if not events or events[-1].place <= since.rooms:
                continue
            for stay in self._stays_in(room, namespace, at, ops, until):
                span = _span(events, max(stay.begin, since.rooms), min(stay.end, until))
                if len(span) <= _FEW:
                    few += [events[index] for index in span]
                else:
                    found.append(map(events.__getitem__, span))
        found.append(iter(sorted(few, key=_place_of)))
        last: Position | None = None
        for event in merge(*found, key=_place_of):
            if event.place != last and not (event.skip and sid in event.skip):
                yield event.outbound()
            last = event.place

    def _add_event(self, event: _Event) -> None:
        emit = event.emit
        self.size += len(emit.packet) + sum(map(len, emit.attachments))
        if emit.to is None:
            self._everyone[emit.namespace].append(event)
            return
        for room in set(emit.to):
            self._events[emit.namespace, room].append(event)

    def _ops_in_rooms(self, sid: str, at: AtHorizon, until: Position) -> dict[Room, list[_RoomOp]]:
        """Of each room in which the client may have been: what is said of it between the horizon and this place."""
        none: list[_RoomOp] = []
        in_rooms: dict[Room, list[_RoomOp]] = dict.fromkeys(at.rooms, none)
        ops = self._ops.get(sid, none)
        for op in ops[bisect_right(ops, _last_of(at.horizon), key=_place_of) : bisect_left(ops, until, key=_place_of)]:
            if known := in_rooms.get(op.room):
                known.append(op)
            else:
                in_rooms[op.room] = [op]
        in_rooms.pop(sid, None)
        return in_rooms

    def _stays_in(
        self, room: Room, namespace: str, at: AtHorizon, ops: list[_RoomOp], until: Position
    ) -> list["_Stay"]:
        """From where to where a client was in this room behind the horizon. `ops`: those that concern the room."""
        horizon = _last_of(at.horizon)
        places = self._closed.get(namespace, {}).get(room, ())
        closed = places[bisect_right(places, horizon) : bisect_left(places, until)]
        return list(_stays(room in at.rooms, horizon, ops, closed))


class _Stay(NamedTuple):
    """In a room from behind `begin` to before `end`. `closed`: it ended since the room was closed."""

    begin: Position
    end: Position
    closed: bool


def _stays(inside: bool, horizon: Position, ops: list[_RoomOp], closed: Sequence[Position]) -> Iterator[_Stay]:
    begin = horizon if inside else None
    changes = [(op.place, op.inside, False) for op in ops] + [(place, False, True) for place in closed]
    for place, enters, closes in sorted(changes):
        if enters and begin is None:
            begin = place
        elif not enters and begin is not None:
            yield _Stay(begin, place, closes)
            begin = None
    if begin is not None:
        yield _Stay(begin, _END, False)


def _between(events: Sequence[_Event], after: Position, before: Position) -> Iterator[_Event]:
    """Those events that stand behind the one place and before the other. They are not copied."""
    return map(events.__getitem__, _span(events, after, before))


def _span(events: Sequence[_Event], after: Position, before: Position) -> range:
    """Where they are."""
    begin = bisect_right(events, after, key=_place_of)
    return range(begin, bisect_left(events, before, lo=begin, key=_place_of))


def _last_of(entry_id: bytes) -> Position:
    """Behind all commands of this entry."""
    milliseconds, number, _ = position_of(entry_id, 0)
    return Position(milliseconds, number, 2**63)
