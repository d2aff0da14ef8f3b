"""Lets connections in."""

from collections.abc import Callable

from io_node.engineio.api import Connection
from io_node.socketio.client import SessionLimits
from io_node.socketio.counters import ClientCounters
from io_node.socketio.session import ClientSession
from io_node.socketio.surroundings import Claims, FactSink, NewClients, Throttle
from io_node.socketio.timer import StartTimer
from io_node.tracing import Traces
from sio_cluster.protocol.ids import RandomBytes


class Gate:
    """The engine's `Accepter`: gives each connection a session, while `is_open` says so."""

    def __init__(
        self,
        limits: SessionLimits,
        *,
        newcomers: NewClients,
        facts: FactSink,
        throttle: Throttle,
        claims: Claims,
        counters: ClientCounters,
        start_timer: StartTimer,
        random_bytes: RandomBytes,
        is_open: Callable[[], bool],
        traces: Traces | None = None,
    ) -> None:
        """`traces`: None where no events are traced."""
        self._limits = limits
        self._newcomers = newcomers
        self._facts = facts
        self._throttle = throttle
        self._claims = claims
        self._counters = counters
        self._start_timer = start_timer
        self._random_bytes = random_bytes
        self._is_open = is_open
        self._traces = traces

    def on_connection(self, connection: Connection) -> ClientSession | None:
        if not self._is_open():
            return None
        return ClientSession(
            connection,
            self._random_bytes(9).hex(),
            limits=self._limits,
            newcomers=self._newcomers,
            facts=self._facts,
            throttle=self._throttle,
            claims=self._claims,
            counters=self._counters,
            start_timer=self._start_timer,
            traces=self._traces,
        )
