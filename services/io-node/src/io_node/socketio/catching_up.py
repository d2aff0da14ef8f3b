"""Sends a client that has come back what it missed, a little at a time, as its connection takes it.

What waits for it stays in the log: what it missed, and also what comes meanwhile. So however much that is, its
connection never has more than one portion, and no turn of the event loop does more. What stands in no log, an answer
or an event that asks for one, is held back here, with the place at which it came: all leaves in the order of the log.

The client is in its rooms meanwhile, as any other. `hold` stands in for its `send`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from io_node.engineio.api import Bundle, Connection, Outbound, Sendable
from io_node.socketio.counters import ClientCounters
from io_node.turns import Turns
from sio_cluster.protocol.recovery import Position

MOST: Final = 100
"""So many events are sent in one go."""
MOST_BYTES: Final = 65_536
"""And not many more bytes than that."""
_NEAR_MS: Final = 1_000
"""What came within this time is looked for in one go, in all rooms of the client: else it might never have all."""


class Missed(Protocol):
    """The part of a `Replay` that is used here."""

    def events(self, after: Position | None, until: Position) -> Iterator[Outbound | None]:
        """The client's events behind the one place and before the other, in order. `after` None: all that it missed.

        The iterator may be read on while the log goes on. It does not see what is added to it. It gives None where it
        has looked at some of the client's rooms, and other work may be done before it goes on.
        """

    def end(self) -> None: ...


class CatchingUp:
    """One client that catches up. `step` sends the first portion; `go_on` has the rest sent, in later turns.

    `place` says up to where the commands for this client have been carried out. `on_live` is called once, when the
    client has everything up to there, and with no command carried out in between: from now on it gets what comes
    directly. Whoever ends it before calls `end`.
    """

    __slots__ = (
        "_after",
        "_connection",
        "_counters",
        "_ended",
        "_events",
        "_first",
        "_held",
        "_missed",
        "_on_live",
        "_paused",
        "_pauses",
        "_place",
        "_turns",
        "send",
    )

    def __init__(
        self,
        connection: Connection,
        send: Callable[[Sendable], None],
        missed: Missed,
        *,
        place: Callable[[], Position],
        counters: ClientCounters,
        turns: Turns,
        on_live: Callable[[], None],
    ) -> None:
        self._connection = connection
        self.send = send
        """How the client is written to."""
        self._missed = missed
        self._place = place
        self._counters = counters
        self._turns = turns
        self._on_live = on_live
        self._after = place()
        self._events = missed.events(None, self._after)
        self._pauses = True  # the search for events may go on in later turns
        self._paused = False
        self._first = True  # what is sent was missed: nobody has counted it as delivered
        self._held: deque[tuple[Position, Outbound]] = deque()
        self._ended = False

    @property
    def held(self) -> int:
        """How many messages are held back here."""
        return len(self._held)

    def hold(self, message: Sendable) -> None:
        """In place of the client's `send`: what is in the log comes from there."""
        if isinstance(message, Bundle):
            for each in message.messages:
                self.hold(each)
        elif message.volatile:
            self._counters.held_dropped += 1
        elif message.place is None:
            self._held.append((self._place(), message))
            self._connection.keep(message)

    def step(self) -> bool:
        """Send one portion, or look for it in some rooms. True: the client has everything."""
        count = size = 0
        self._paused = False
        while True:
            for event in self._events:
                if event is None:
                    if not self._pauses:
                        continue
                    self._count(count)
                    self._paused = not count
                    return False
                assert event.place is not None
                self._send_held(event.place)
                self.send(event)
                count += 1
                size += event.size
                if count >= MOST or size >= MOST_BYTES:
                    self._count(count)
                    return False
            self._count(count)
            count = 0
            self._first = False
            place = self._place()
            if place <= self._after:
                break
            self._events = self._missed.events(self._after, _behind(place))
            self._pauses = place.ms - self._after.ms > _NEAR_MS
            self._after = place
        self._send_held(None)
        return True

    def go_on(self) -> None:
        """Send the rest, each portion when the connection has taken the one before."""
        if self._paused:
            self._take_turn()
        else:
            self._connection.when_taken(self._take_turn)

    def finish(self, then: Callable[[], None]) -> None:
        """The client is no member any more. It gets all up to this place, and `then` is called instead of `on_live`."""
        place = self._place()
        self._place = lambda: place
        self._on_live = then

    def end(self) -> int:
        """Send nothing any more. Idempotent. Returns how many messages that were held back are dropped."""
        self._ended = True
        self._missed.end()
        held, self._held = self._held, deque()
        for _, message in held:
            self._connection.let_go(message)
        return len(held)

    def _take_turn(self) -> None:
        self._turns.add(self._turn)

    def _turn(self) -> None:
        if self._ended:
            return
        if not self.step():
            self.go_on()
        elif not self._ended:
            self.end()
            self._on_live()

    def _send_held(self, before: Position | None) -> None:
        held = self._held
        while held and (before is None or held[0][0] < before):
            message = held.popleft()[1]
            self._connection.let_go(message)
            self.send(message)

    def _count(self, count: int) -> None:
        if self._first:
            self._counters.replayed += count
            self._counters.emit_deliveries += count


def _behind(place: Position) -> Position:
    return Position(place.ms, place.number, place.command + 1)
