"""One home as this node reads it, and the logs of it that are in memory."""

import asyncio
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from io_node.engineio.api import Connection
from io_node.recovery.home_log import HomeLog
from io_node.socketio.hub import Hub
from sio_cluster.protocol.messages import Command
from sio_cluster.streams.api.inboxes import InboxEntry

_NOTHING = b"0-0"
_SLICE = 250
"""So many commands are taken into the logs at a time."""
_MOST_REPEATED = 1_000
"""So many ids of entries that came before are remembered, for the loading of a log: a repetition comes seldom."""


@dataclass(eq=False, slots=True)
class LoadedLog:
    """A log in memory. `pins`: who will still ask it. `used_size`: its size when a client last came back."""

    log: HomeLog
    loaded_at: float
    used_at: float
    used_size: int = 0
    pins: "set[Pinned]" = field(default_factory=set)


@dataclass(eq=False, slots=True)
class Home:
    """One home, its clients here, and how far it was read. `lost`: it cannot be read on. `repeated`: the last entries
    that were passed over, since they came before."""

    name: str
    hub: Hub
    place: bytes = _NOTHING
    logs: list[LoadedLog] = field(default_factory=list)
    lost: bool = False
    tail: "asyncio.Task[None] | None" = None
    used_at: float = 0.0
    repeated: deque[bytes] = field(default_factory=lambda: deque(maxlen=_MOST_REPEATED))

    @property
    def size(self) -> int:
        """How many bytes its logs in memory take, about."""
        return sum(loaded.log.size for loaded in self.logs)

    def took(self, entry: InboxEntry, commands: Sequence[Command]) -> Iterator[None]:
        """This entry is carried out when the iterator has ended. Other work may go on between its steps.

        Who asks a log meanwhile asks for nothing of this entry. A log that is loaded meanwhile has the whole entry.
        """
        self.place = entry.id
        logs = [loaded.log for loaded in self.logs]
        for first in range(0, len(commands) if logs else 0, _SLICE):
            for log in logs:
                log.add(entry.id, commands[first : first + _SLICE], first)
            yield
        self.hub.begin(entry.id)

    def passed_over(self, entry: InboxEntry) -> None:
        """This entry came before, under another id."""
        self.place = entry.id
        self.repeated.append(entry.id)


class Pinned:
    """A home whose log is in memory until `unpin`, for the client of this connection."""

    __slots__ = ("_pins", "connection", "home", "log")

    def __init__(self, home: Home, loaded: LoadedLog, connection: Connection) -> None:
        self.home = home
        self.log = loaded.log
        self.connection = connection
        self._pins = loaded.pins
        self._pins.add(self)

    def unpin(self) -> None:
        """Idempotent."""
        self._pins.discard(self)
