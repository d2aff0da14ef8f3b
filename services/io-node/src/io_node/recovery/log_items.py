"""What stands in the log of a home, and what it takes in memory."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import attrgetter
from typing import Final, NamedTuple, TypeVar

from io_node.engineio.api import Outbound
from sio_cluster.protocol.messages import Emit, Room
from sio_cluster.protocol.recovery import Position, pack, unpack

END: Final = Position(2**63, 0, 0)
"""Behind every place."""

MOST_MADE_BYTES: Final = 4_000_000
"""So much is kept of events in the form in which they are sent."""

# What each thing takes in bytes, besides what it says. A test compares that with what Python takes.
EVENT_BYTES: Final = 150
IN_ROOM_BYTES: Final = 10
OP_BYTES: Final = 115
CLOSED_BYTES: Final = 50
ACCEPTED_BYTES: Final = 65
LIST_BYTES: Final = 160
"""Of a room, a namespace or a client of which something is said for the first time."""
TEXT_BYTES: Final = 70
"""Of a name that comes for the first time."""
DROPPED_BYTES: Final = 150
_PART_BYTES = 50  # an attachment
_SKIP_BYTES = 45  # a list of sids
_SKIPPED_IN_SET_BYTES = 90
_FEW_SKIPPED = 8  # more of them are a set
_MADE_BYTES = 600
_STRETCH_BYTES = 20_000

_Name = TypeVar("_Name", str, Room)


class Event:
    """An event that may be replayed. `message` is made when the first client gets it, and shared by all."""

    __slots__ = ("attachments", "except_rooms", "message", "packet", "place", "skip")

    def __init__(self, place: int, emit: Emit, skip: Sequence[str], except_rooms: Sequence[Room]) -> None:
        """`skip`, `except_rooms`: those of the emit, each name in the object that is kept of it."""
        self.place = place
        self.packet = emit.packet
        self.attachments = tuple(emit.attachments)
        self.except_rooms = tuple(except_rooms)
        self.skip: Collection[str] = tuple(skip) if len(skip) <= _FEW_SKIPPED else frozenset(skip)
        self.message: Outbound | None = None

    @property
    def said(self) -> int:
        """How many bytes it says."""
        return len(self.packet) + sum(map(len, self.attachments))

    @property
    def size(self) -> int:
        """How many bytes it takes, without its message, and without the rooms in which it stands."""
        size = EVENT_BYTES + self.said + len(self.attachments) * _PART_BYTES
        if self.except_rooms:
            size += _SKIP_BYTES + 8 * len(self.except_rooms)
        if not self.skip:
            return size
        number = len(self.skip)
        return size + (_SKIP_BYTES + 8 * number if number <= _FEW_SKIPPED else _SKIPPED_IN_SET_BYTES * number)


class RoomOp(NamedTuple):
    """A client enters a room, or leaves it."""

    place: int
    room: Room
    inside: bool


class Stay(NamedTuple):
    """In a room from behind `begin` to before `end`. `closed`: it ended since the room was closed."""

    begin: int
    end: int
    closed: bool


class Excepted:
    """In which of the rooms that events except a client was, and when. `stays_in` looks one room up."""

    __slots__ = ("_known", "_stays_in")

    def __init__(self, stays_in: Callable[[Room], list[Stay]]) -> None:
        self._stays_in = stays_in
        self._known: dict[Room, list[Stay]] = {}

    def concerns(self, event: Event) -> bool:
        """Whether the event was not for the client, since it was in a room that the event excepts."""
        return any(self._was_in(room, event.place) for room in event.except_rooms)

    def _was_in(self, room: Room, place: int) -> bool:
        if room not in self._known:
            self._known[room] = self._stays_in(room)
        return any(stay.begin < place < stay.end for stay in self._known[room])


class Messages:
    """Events in the form in which they are sent: thousands of clients may have missed the same ones.

    Bound: MOST_MADE_BYTES. Beyond it the ones that were made first go, and are made anew if somebody needs them.
    """

    def __init__(self) -> None:
        self._made: deque[Event] = deque()
        self._size = 0

    def of(self, event: Event) -> Outbound:
        """The message of this event."""
        message = event.message
        if message is None:
            message = event.message = Outbound(event.packet, event.attachments, False, unpack(event.place))
            self._made.append(event)
            self._size += _made_size(event)
            while self._size > MOST_MADE_BYTES:
                oldest = self._made.popleft()
                oldest.message = None
                self._size -= _made_size(oldest)
        return message


def _made_size(event: Event) -> int:
    """What a message takes about, with its offset and as frames."""
    return _MADE_BYTES + 3 * event.said


class Names:
    """Each name in one object, however often it comes. `size`: what they take."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self.size = 0

    def one(self, name: _Name) -> _Name:
        """The same name, in the object that is kept of it."""
        if not isinstance(name, str):
            return name
        known = self._texts.get(name)
        if known is None:
            known = self._texts[name] = name
            self.size += TEXT_BYTES + len(name)
        return known


class Stretch:
    """What follows each other in the log, up to the place `last`. `size`: what it takes; `events_size`: its events
    alone. `entries`: how many entries of the inbox it begins."""

    __slots__ = ("entries", "events_size", "last", "size")

    def __init__(self) -> None:
        self.last = 0
        self.size = 0
        self.events_size = 0
        self.entries = 0

    def add(self, last: int, size: int, events_size: int, entries: int) -> None:
        """And this follows."""
        self.last = last
        self.size += size
        self.events_size += events_size
        self.entries += entries


class Stretches:
    """The log as parts of some 20 KB that follow each other. So it is known how many of them to drop."""

    def __init__(self) -> None:
        self._stretches: deque[Stretch] = deque()
        self._entry = -1

    def add(self, place: int, size: int, events_size: int) -> int:
        """Something stands there. Returns how many entries it begins: 1 or 0."""
        stretches = self._stretches
        if not stretches or stretches[-1].size > _STRETCH_BYTES:
            stretches.append(Stretch())
        entry = place >> 24
        begins, self._entry = int(entry != self._entry), entry
        stretches[-1].add(place, size, events_size, begins)
        return begins

    def cut(self, over: int) -> Stretch:
        """Forget those that take so much, the oldest. Returns what they were, as one."""
        gone = Stretch()
        while gone.size < over and self._stretches:
            oldest = self._stretches.popleft()
            gone.add(oldest.last, oldest.size, oldest.events_size, oldest.entries)
        return gone


place_of = attrgetter("place")


def stays(inside: bool, horizon: int, ops: Sequence[RoomOp], closed: Sequence[int]) -> Iterator[Stay]:
    """From where to where a client was in a room. `inside`: at the horizon. `closed`: where the room was closed."""
    begin = horizon if inside else None
    changes = [(op.place, op.inside, False) for op in ops] + [(place, False, True) for place in closed]
    for place, enters, closes in sorted(changes):
        if enters and begin is None:
            begin = place
        elif not enters and begin is not None:
            yield Stay(begin, place, closes)
            begin = None
    if begin is not None:
        yield Stay(begin, pack(*END), False)


def span(events: Sequence[Event], after: int, before: int) -> range:
    """Where those events are that stand behind the one place and before the other."""
    begin = bisect_right(events, after, key=place_of)
    return range(begin, bisect_left(events, before, lo=begin, key=place_of))


def between(events: Sequence[Event], after: int, before: int) -> Iterator[Event]:
    """These events. They are not copied."""
    return map(events.__getitem__, span(events, after, before))
