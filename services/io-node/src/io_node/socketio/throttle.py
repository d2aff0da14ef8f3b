"""Lets clients through to the application at a rate that it can bear.

A storm of reconnections (a node that died, a deployment) asks for everything at once: each CONNECT costs the
application a handler and Redis a record. Beyond CONNECT_RATE clients wait in the order in which they came, and live
events go past them.
"""

import math
from collections.abc import Callable, Iterable

import structlog

from io_node.bus.batch import size_of
from io_node.bus.fairness import Paused, Sender
from io_node.socketio.session import Client, IdleTimer

log = structlog.get_logger()

_ROUND_S = 0.02

StartTimer = Callable[[float, Callable[[], None]], IdleTimer]
"""Calls back after so many seconds."""


class Admission:
    """The session's `Waiting`: a token bucket in front of the uplink.

    Guarantees: in any second at most twice `rate` clients are admitted (what a pause has saved up is at most one
    second's worth), in the order in which they asked. None is refused. Bounds: each connection waits with at most
    MAX_NAMESPACES clients, a client that leaves leaves the queue, and beyond UPLINK_BUFFER_BYTES whoever asks for more
    is read no further until half of that is left.
    """

    def __init__(
        self,
        rate: int,
        *,
        has_room: Callable[[], bool],
        buffer_bytes: int,
        pause: Callable[[Paused, Sender], None],
        release: Callable[[Paused, Iterable[Sender]], None],
        start_timer: StartTimer,
        clock: Callable[[], float],
    ) -> None:
        """`rate`: clients a second, 0 for no limit. While `has_room` says no, those that wait go on waiting. `pause`
        and `release` are the uplink's, which also forgets senders that are closed."""
        self._rate = rate
        self._has_room = has_room
        self._buffer_bytes = buffer_bytes
        self._pause = pause
        self._release = release
        self._paused: Paused = {}
        self._start_timer = start_timer
        self._clock = clock
        self._waiting: dict[Client, int] = {}  # what each weighs
        self._waiting_bytes = 0
        self._tokens = float(rate)
        self._refilled_at = -math.inf
        self._timer: IdleTimer | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self, client: Client) -> None:
        """Admit the client at once, or when its turn comes."""
        if not self._rate or (not self._waiting and self._take_token()):
            client.session.admit(client)
            return
        if not self._waiting:
            log.info("connects_wait", rate=self._rate)
        size = self._waiting[client] = size_of(client.connected)
        self._waiting_bytes += size
        if self._waiting_bytes > self._buffer_bytes:
            if not self._paused:
                log.warning("connects_buffer_full", waiting=len(self._waiting), waiting_bytes=self._waiting_bytes)
            self._pause(self._paused, client.session.connection)
        self._come_back()

    def leave(self, client: Client) -> bool:
        if client not in self._waiting:
            return False
        self._remove(client)
        return True

    def _on_timer(self) -> None:
        self._timer = None
        while self._waiting and self._has_room() and self._take_token():
            client = next(iter(self._waiting))
            self._remove(client)
            client.session.admit(client)
        if self._waiting:
            self._come_back()

    def _remove(self, client: Client) -> None:
        self._waiting_bytes -= self._waiting.pop(client)
        if self._paused and self._waiting_bytes <= self._buffer_bytes // 2:
            self._release(self._paused, list(self._paused))

    def _come_back(self) -> None:
        if self._timer is None:
            self._timer = self._start_timer(max(_ROUND_S, 1 / self._rate), self._on_timer)

    def _take_token(self) -> bool:
        now = self._clock()
        self._tokens = min(float(self._rate), self._tokens + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
