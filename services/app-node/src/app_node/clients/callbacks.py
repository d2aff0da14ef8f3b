"""Callbacks of `emit` and `call` that wait for clients' answers.

Each waits under an ack id (`ack_ids`). There are three kinds, each with its own bound:

- A `call`, for whose answer somebody waits until its time-out. It is forgotten when it was answered, and when it has
  ended. Of one client's calls, `MAX_CALLS` may wait. One more is refused.
- An emit to one client: `MAX_WAITING`. Its callback is forgotten when it was called.
- An emit to a room, and nobody knows how many will answer: `MAX_WAITING_ROOMS`. Its callback is forgotten after
  `ROOM_S`.

Questions to many have their answers collected elsewhere (`questions`). Here they reserve their ids.

Beyond the bounds of the last two, the oldest callback of that kind is given up and counted. What waits for one client
alone is forgotten and counted when no answer can come any more (`missed`): an io-node says so (`AckMissed`), or it is
found out here (`unanswered`). Who waits for a call is told.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app_node.clients.ack_ids import ack_ids
from app_node.clock import Clock
from app_node.counters import Counters
from sio_cluster.protocol.errors import TooManyCalls

MAX_WAITING = 100_000
MAX_WAITING_ROOMS = 10_000
MAX_CALLS = 1_000
"""An io-node remembers as many questions to one client, and gives up the oldest for one more."""
ROOM_S = 600.0
"""For how many seconds the members of a room may answer an emit."""

Callback = Callable[..., Any]


@dataclass(slots=True)
class _Call:
    """A `call`, which one answer ends. `sid`: the client that may answer, None where many may.

    `on_missed` is called instead of the callback if no answer can come.
    """

    callback: Callback
    sid: str | None
    on_missed: Callable[[], None]
    generation: int | None


@dataclass(slots=True)
class _OfClient:
    """The callback of an emit that only this client may answer, once."""

    callback: Callback
    sid: str
    generation: int | None


@dataclass(slots=True)
class _OfRoom:
    """The callback of an emit that went to many, each of whom may answer until this time."""

    callback: Callback
    until: float


class Callbacks:
    """The callbacks that wait. `open` comes before the first `ask`."""

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self._counters = counters
        self._clock = clock
        self._calls: dict[int, _Call] = {}
        self._of_clients: dict[int, _OfClient] = {}  # the oldest first
        self._of_rooms: dict[int, _OfRoom] = {}  # the oldest first
        self._reserved: set[int] = set()
        self._ids_of: dict[str, set[int]] = {}  # by sid: calls and emits
        self._calls_of: Counter[str] = Counter()  # by sid
        self._ids: Iterator[int] | None = None

    def __len__(self) -> int:
        return len(self._calls) + len(self._of_clients) + len(self._of_rooms)

    @property
    def is_open(self) -> bool:
        """Whether `ask` may be called."""
        return self._ids is not None

    def open(self, epoch: int) -> None:
        """Ack ids begin with this epoch (`Registry.next_epoch`)."""
        self._ids = ack_ids(epoch, self.waits)

    @property
    def clients(self) -> list[str]:
        """The clients that alone may answer something."""
        return list(self._ids_of)

    def ask(
        self,
        callback: Callback,
        sid: str | None,
        *,
        is_call: bool = False,
        on_missed: Callable[[], None] = lambda: None,
        generation: int | None = None,
    ) -> int:
        """A new ack id, under which this callback waits. `sid`: the client that may answer, None where many may.

        `is_call`: somebody waits for it, who is told by `on_missed` that no answer can come. `generation`: that of the
        connection that may answer, None where it is not known. Raises TooManyCalls where MAX_CALLS wait for this client
        already.
        """
        if self._ids is None:
            raise RuntimeError("no epoch yet")
        if is_call and sid is not None and self._calls_of[sid] >= MAX_CALLS:
            self._counters.calls_refused += 1
            raise TooManyCalls(f"{MAX_CALLS} calls wait for answers of {sid}")
        ack_id = next(self._ids)
        if is_call:
            self._calls[ack_id] = _Call(callback, sid, on_missed, generation)
        elif sid is not None:
            self._make_room(self._of_clients, MAX_WAITING)
            self._of_clients[ack_id] = _OfClient(callback, sid, generation)
        else:
            self._ask_room(ack_id, callback)
        if sid is not None:
            self._ids_of.setdefault(sid, set()).add(ack_id)
            self._calls_of[sid] += is_call
        return ack_id

    def reserve(self) -> int:
        """A new ack id, under which no callback waits, for whoever calls `release` later."""
        if self._ids is None:
            raise RuntimeError("no epoch yet")
        ack_id = next(self._ids)
        self._reserved.add(ack_id)
        return ack_id

    def release(self, ack_id: int) -> None:
        """Nobody waits under this id any more. Idempotent."""
        self._reserved.discard(ack_id)

    def answer(self, sid: str, ack_id: int) -> Callback | None:
        """The callback that this client's answer belongs to. None where none waits for it."""
        waiting = self._calls.get(ack_id) or self._of_clients.get(ack_id)
        if waiting is not None and waiting.sid in (sid, None):
            self.forget(ack_id)
            return waiting.callback
        of_room = self._of_rooms.get(ack_id)
        if of_room is not None and of_room.until > self._clock():
            return of_room.callback
        return None

    def forget(self, ack_id: int) -> None:
        """Nobody waits for this answer any more. Does nothing where it has come."""
        self._of_rooms.pop(ack_id, None)
        call = self._calls.pop(ack_id, None)
        waiting = call or self._of_clients.pop(ack_id, None)
        if waiting is not None and waiting.sid is not None:
            ids = self._ids_of[waiting.sid]
            ids.discard(ack_id)
            self._calls_of[waiting.sid] -= call is not None
            if not ids:
                del self._ids_of[waiting.sid], self._calls_of[waiting.sid]

    def missed(self, sid: str, ack_id: int) -> None:
        """This client's answer cannot come any more. Does nothing where nobody waits for it."""
        waiting = self._calls.get(ack_id) or self._of_clients.get(ack_id)
        if waiting is None or waiting.sid != sid:
            return
        self.forget(ack_id)
        self._counters.acks_missed += 1
        if isinstance(waiting, _Call):
            waiting.on_missed()

    def lost(self, sid: str) -> None:
        """The io-node that had this client is dead: none of the client's answers can come any more."""
        for ack_id in self.asked(sid):
            self.missed(sid, ack_id)

    def asked(self, sid: str) -> list[int]:
        """The questions that this client alone may answer."""
        return sorted(self._ids_of.get(sid, ()))

    def is_older(self, ack_id: int, let_in: int | None) -> bool:
        """Whether another connection of the client was let in since it was asked. `let_in`: the one that is in now.

        Where it is not known which one was asked, it is this one.
        """
        waiting = self._calls.get(ack_id) or self._of_clients.get(ack_id)
        if waiting is None or let_in is None:
            return False
        if waiting.generation is None:
            waiting.generation = let_in
        return waiting.generation < let_in

    def waits(self, ack_id: int) -> bool:
        """Whether this id still waits for an answer."""
        waits = ack_id in self._calls or ack_id in self._of_clients or ack_id in self._of_rooms
        return waits or ack_id in self._reserved

    def _ask_room(self, ack_id: int, callback: Callback) -> None:
        now = self._clock()
        while self._of_rooms and self._of_rooms[oldest := next(iter(self._of_rooms))].until <= now:
            self.forget(oldest)
        self._make_room(self._of_rooms, MAX_WAITING_ROOMS)
        self._of_rooms[ack_id] = _OfRoom(callback, now + ROOM_S)

    def _make_room(self, waiting: Mapping[int, object], most: int) -> None:
        """For one more of a kind: gives up the oldest, if as many wait as may."""
        if len(waiting) >= most:
            self.forget(next(iter(waiting)))
            self._counters.callbacks_given_up += 1
