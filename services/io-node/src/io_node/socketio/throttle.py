"""Lets clients through to the application at a rate that it can bear.

When a node dies or a deployment begins, thousands of clients reconnect at once, and each CONNECT costs the application
a handler call and Redis a record. Beyond CONNECT_RATE a second, clients wait here in the order in which they came.
Events of clients that have joined do not wait behind them.
"""

import math
from collections.abc import Callable

import structlog

from io_node.backpressure import Backpressure, Paused, size_of
from io_node.socketio.client import Client
from io_node.socketio.timer import StartTimer, Timer

log = structlog.get_logger()

_ROUND_S = 0.02


class ConnectThrottle:
    """The session's `Throttle`: a token bucket in front of the uplink.

    Guarantees: within any second at most twice `rate` clients are admitted, since a quiet time saves up at most one
    second's worth. They are admitted in the order in which they asked, and none is refused.

    Bounds: a connection waits with at most MAX_NAMESPACES clients, and a client that leaves stops waiting. When what
    waits weighs more than UPLINK_BUFFER_BYTES, whoever asks for more is not read until half of that is left.
    """

    def __init__(
        self,
        rate: int,
        *,
        has_room: Callable[[], bool],
        buffer_bytes: int,
        backpressure: Backpressure,
        start_timer: StartTimer,
        clock: Callable[[], float],
    ) -> None:
        """`rate`: clients a second, 0 for no limit. While `has_room` says no, nobody who waits is admitted."""
        self._rate = rate
        self._has_room = has_room
        self._buffer_bytes = buffer_bytes
        self._backpressure = backpressure
        self._paused: Paused = {}
        self._start_timer = start_timer
        self._clock = clock
        self._waiting: dict[Client, int] = {}
        """How many bytes each client that waits weighs."""
        self._waiting_bytes = 0
        self._tokens = float(rate)
        self._refilled_at = -math.inf
        self._timer: Timer | None = None

    def __len__(self) -> int:
        """How many clients wait."""
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
            self._backpressure.pause(self._paused, client.session.connection)
        self._come_back()

    def leave(self, client: Client) -> bool:
        """Stop waiting. True if the client was waiting."""
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
            self._backpressure.release_all(self._paused)

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
