"""Lets connections in."""

from collections.abc import Callable

from io_node.engineio.api import Connection
from io_node.socketio.counters import ClientCounters
from io_node.socketio.hub import Hub
from io_node.socketio.session import ClientSession, FactSink, SessionLimits, StartIdleTimer, Waiting
from sio_cluster.protocol.ids import RandomBytes


class Gate:
    """The engine's `Accepter`: a session for each connection while `is_open`."""

    def __init__(
        self,
        limits: SessionLimits,
        *,
        hub: Hub,
        facts: FactSink,
        waiting: Waiting,
        counters: ClientCounters,
        start_idle_timer: StartIdleTimer,
        random_bytes: RandomBytes,
        is_open: Callable[[], bool],
    ) -> None:
        self._limits = limits
        self._hub = hub
        self._facts = facts
        self._waiting = waiting
        self._counters = counters
        self._start_idle_timer = start_idle_timer
        self._random_bytes = random_bytes
        self._is_open = is_open

    def on_connection(self, connection: Connection) -> ClientSession | None:
        if not self._is_open():
            return None
        return ClientSession(
            connection,
            self._random_bytes(9).hex(),
            limits=self._limits,
            hub=self._hub,
            facts=self._facts,
            waiting=self._waiting,
            counters=self._counters,
            start_idle_timer=self._start_idle_timer,
        )
