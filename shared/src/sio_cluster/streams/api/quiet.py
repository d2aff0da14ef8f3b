"""Who missed nothing for longer than the log goes back. Pure.

A client that got no event for an hour has an offset that is an hour old, and the log of its home begins two minutes
ago. It has missed nothing if no event for it stood between the two. So when entries leave the log, a few *marks* stay
behind: when each room had its last event there, and so had all clients of a namespace.

    gone = Gone()                                  for some entries that are about to leave the log, in order:
    gone.add(entry.id, commands)                   what they say
    gone.left(sid, room)                           a client has left this room, or the room was closed
    await homes.mark_gone(home, gone, up_to)       and then forget them up to there

    marks = await homes.marks(home, sid, namespace, rooms)     its rooms at the horizon
    marks.reached(offset, horizon)

An error is on the safe side: a client may be taken for one that has missed something. That happens where an event came
later in a room of the same name in another namespace, or in a room before the client entered it, or that excepted a
room of the client, or skipped the client among more than MOST_SKIPPED others.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import assert_never

import msgspec

from sio_cluster.protocol.ids import node_of
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

UP_TO = b"up-to"
"""The name of the mark that says up to which entry there are marks: an id."""
FLOOR = b"floor"
"""The name of the mark that says that older marks were given up: a place."""

MOST_MARKS = 100_000
"""How many marks a home keeps. When it has more, they are given up: whoever was quiet until then begins anew."""


MOST_SKIPPED = 100
"""An event that skips more clients counts as one that skipped nobody: a mark has to be small."""


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """When a room had its last event: `last`, and of those whom that event skipped, when their last one was."""

    last: Position
    skipped: dict[str, Position] = {}

    def last_for(self, sid: str) -> Position:
        """The last event for this client, if it is in the room."""
        return self.skipped.get(sid, self.last)


class _Pending:
    """What some entries say of one room. `skipped`: None for a client that they skipped throughout."""

    __slots__ = ("last", "skipped")

    def __init__(self) -> None:
        self.last: Position | None = None
        self.skipped: dict[str, Position | None] = {}

    def event(self, place: Position, skip: Sequence[str]) -> None:
        is_noted = 0 < len(skip) <= MOST_SKIPPED
        self.skipped = {sid: self.skipped.get(sid, self.last) for sid in skip} if is_noted else {}
        self.last = place

    def after(self, before: Mark | None) -> Mark:
        """The mark, where there was this one before."""
        assert self.last is not None
        skipped = {
            sid: place if place is not None else START if before is None else before.last_for(sid)
            for sid, place in self.skipped.items()
        }
        return Mark(self.last, skipped)


class Gone:
    """What some entries say, that follow each other."""

    def __init__(self, own_text: Callable[[str], str] = str) -> None:
        """`own_text` gives the caller's own object for a sid, where it has one: a node may keep thousands of them."""
        self._own_text = own_text
        self._events: dict[Room | bytes, _Pending] = {}  # by room, or by the mark of a whole namespace
        self._left: list[tuple[str, Room]] = []
        self._accepted: dict[str, int] = {}  # packed: each connection that came lately has one

    def add(self, entry_id: bytes, commands: Iterable[Command], first: int = 0) -> None:
        """The next entry, or the next part of one: the commands from number `first` on."""
        milliseconds, number, _ = position_of(entry_id, 0)
        events = self._events
        for index, command in enumerate(commands, first):
            match command:
                case Emit(ack=None, volatile=False):
                    place = Position(milliseconds, number, index)
                    for room in (_everyone(command.namespace),) if command.to is None else command.to:
                        pending = events.get(room)
                        if pending is None:
                            pending = events[room] = _Pending()
                        pending.event(place, command.skip)
                case Accept(sid, generation=0):
                    if sid not in self._accepted:
                        self._accepted[self._own_text(sid)] = pack(milliseconds, number, index)
                case Emit() | Accept() | Ack() | Join() | JoinMany() | Leave() | LeaveMany():
                    pass  # asks for an ack, is volatile, concerns a later connection, or no event
                case CloseRoom() | Refuse() | Disconnect() | DisconnectMany() | Evict() | Canary():
                    pass
                case _:
                    assert_never(command)

    @property
    def accepted(self) -> Collection[str]:
        """The clients that were accepted for the first time."""
        return self._accepted.keys()

    def left(self, sid: str, room: Room) -> None:
        """A client has left this room. What was said there before still was for it."""
        self._left.append((sid, room))

    def keep_only(self, is_known: Callable[[str], bool]) -> None:
        """Clients that are gone for good need no marks. `is_known` says of a sid whether it is not."""
        gone = [room for room in self._events if isinstance(room, str) and node_of(room) and not is_known(room)]
        for room in gone:
            del self._events[room]
        self._left = [(sid, room) for sid, room in self._left if is_known(sid)]
        self._accepted = {sid: place for sid, place in self._accepted.items() if is_known(sid)}

    def names(self) -> list[bytes]:
        """The marks that must be known before these can be written."""
        rooms = {name for sid, room in self._left for name in (_room(sid), _room(room))}
        return [*rooms.union(map(_name, self._events)), *map(_accept, self._accepted)]

    def marks(self, known: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        """The marks as they are with these entries. `known`: as they were, of all `names` that there were."""
        marks = {name: _decode(known.get(name)) for name in self.names()}
        for room, pending in self._events.items():
            name = _name(room)
            marks[name] = pending.after(marks[name])
        for sid, room in self._left:
            own, other = marks[_room(sid)], marks[_room(room)]
            if other is not None and (own is None or own.last_for(sid) < other.last_for(sid)):
                marks[_room(sid)] = Mark(other.last_for(sid))
        for sid, place in self._accepted.items():
            marks[_accept(sid)] = marks[_accept(sid)] or Mark(unpack(place))
        return {name: _encode(mark) for name, mark in marks.items() if mark is not None}


def names_of(sid: str, namespace: str, rooms: Iterable[Room]) -> list[bytes]:
    """The marks that say something of this client. `rooms`: its rooms at the horizon."""
    return [UP_TO, FLOOR, _accept(sid), _everyone(namespace), *{_room(sid), *map(_room, rooms)}]


def marks_of_client(sid: str) -> list[bytes]:
    """The marks that nobody needs once this client is gone for good."""
    return [_accept(sid), _room(sid)]


def start_again(up_to: bytes) -> dict[bytes, bytes]:
    """What stays when there are too many marks."""
    milliseconds, number, _ = position_of(up_to, 0)
    return {UP_TO: up_to, FLOOR: _encode(Mark(Position(milliseconds, number, 2**24)))}


class Marks:
    """What is marked of one client."""

    def __init__(self, sid: str, found: Mapping[bytes, bytes]) -> None:
        """`found`: of `names_of` the client, the marks that there are."""
        self._sid = sid
        found = dict(found)
        self._up_to = found.pop(UP_TO, b"0-0")
        self._floor = _decode(found.pop(FLOOR, None))
        self._accepted = _decode(found.pop(_accept(sid), None))
        self._rooms = [_decode(mark) for mark in found.values()]

    def reached(self, offset: Position | None, horizon: bytes, waited: Position | None = None) -> Position | None:
        """From where the client has missed nothing up to the horizon: its offset, or where its session began. None
        where it has missed something, or nobody knows.

        `waited`: behind this place it waited for its first Accept. What was said before was not for it. None: nobody
        knows, and that Accept counts instead. An offset from before that is one of a former session: clients keep it.
        """
        if waited is None and self._accepted is not None:
            waited = self._accepted.last
        begin = offset if waited is None else max(offset or START, waited)
        if begin is None or position_of(self._up_to, 0) < position_of(horizon, 0):
            return None
        places = [mark.last_for(self._sid) for mark in (*self._rooms, self._floor) if mark is not None]
        return begin if max(places, default=START) <= begin else None


def _name(room: Room | bytes) -> bytes:
    return room if isinstance(room, bytes) else _room(room)


def _everyone(namespace: str) -> bytes:
    return b"everyone:" + namespace.encode()


def _room(room: Room) -> bytes:
    return b"room:" + msgspec.json.encode(room)


def _accept(sid: str) -> bytes:
    return b"accepted:" + sid.encode()


def _encode(mark: Mark) -> bytes:
    return msgspec.msgpack.encode(mark)


def _decode(mark: bytes | None) -> Mark | None:
    return None if mark is None else msgspec.msgpack.decode(mark, type=Mark)
