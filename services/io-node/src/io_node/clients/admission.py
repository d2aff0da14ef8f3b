"""Lets clients through to the application at a rate that it can bear.

A storm of reconnections (a node that died, a deployment) asks for everything at once: each CONNECT costs the
application a handler and Redis a record. Beyond CONNECT_RATE clients wait in the order in which they came, and live
events go past them.
"""

import math
from collections.abc import Callable

import structlog

from io_node.clients.session import Client, IdleTimer

log = structlog.get_logger()

_ROUND_S = 0.02

StartTimer = Callable[[float, Callable[[], None]], IdleTimer]
"""Calls back after so many seconds."""


class Admission:
    """The session's `Waiting`: a token bucket in front of the uplink.

    Guarantees: in any second at most twice `rate` clients are admitted (what a pause has saved up is at most one
    second's worth), in the order in which they asked. None is refused. Bound: each connection waits with at most
    MAX_NAMESPACES clients, and a client that leaves leaves the queue.
    """

    def __init__(
        self,
        rate: int,
        *,
        has_room: Callable[[], bool],
        start_timer: StartTimer,
        clock: Callable[[], float],
    ) -> None:
        """`rate`: clients a second, 0 for no limit. While `has_room` says no, those that wait go on waiting."""
        self._rate = rate
        self._has_room = has_room
        self._start_timer = start_timer
        self._clock = clock
        self._waiting: dict[Client, None] = {}
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
        self._waiting[client] = None
        self._come_back()

    def leave(self, client: Client) -> bool:
        if client not in self._waiting:
            return False
        del self._waiting[client]
        return True

    def _on_timer(self) -> None:
        self._timer = None
        while self._waiting and self._has_room() and self._take_token():
            client = next(iter(self._waiting))
            del self._waiting[client]
            client.session.admit(client)
        if self._waiting:
            self._come_back()

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
