"""All Engine.IO connections of one io-node, and the ways in: an ASGI endpoint and an HTTP protocol for uvicorn."""

import asyncio
import functools
import secrets
import time
from collections.abc import Callable

import structlog

from io_node.engineio.api import Accepter
from io_node.engineio.connection import EngineConnection
from io_node.engineio.cors import OriginPolicy
from io_node.engineio.http import EngineHttpProtocol
from io_node.engineio.limits import EngineCounters, Limits
from io_node.engineio.packets import open_packet
from io_node.engineio.polling import PollingEndpoint
from io_node.engineio.request import FORBIDDEN, UNAVAILABLE, Refusal, Request, check
from io_node.engineio.session import EngineSession
from io_node.engineio.tick import Flusher
from io_node.engineio.websocket import WebSocket
from io_node.engineio.wheel import TimerWheel
from sio_cluster.node.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import RandomBytes, new_sid

log = structlog.get_logger()

_WAVE_S = 0.1
_LOOK_S = 0.02


class EngineServer:
    """Holds the connections. Needs a running loop from the first request on, none before.

    Life cycle: give `polling` (an ASGI app) the requests that `handles` says are its own, and run uvicorn with
    `http=engine.http_protocol`. To stop: refuse in the accepter, `await drain(...)`, stop uvicorn, `stop()`.
    """

    def __init__(
        self,
        config: Config,
        accepter: Accepter,
        node_id: str,
        clock: Callable[[], float] = time.monotonic,
        counters: EngineCounters | None = None,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> None:
        self.config = config
        self.counters = counters or EngineCounters()
        self.clock = clock
        self.wheel = TimerWheel(clock)
        self.origins = OriginPolicy(config)
        self.connections: dict[str, EngineConnection] = {}
        self._accepter = accepter
        self._node_id = node_id
        self._random_bytes = random_bytes
        self._flusher = Flusher()
        self._limits = Limits.of(config)
        self._sockets: set[WebSocket] = set()

    def handles(self, path: str) -> bool:
        """Whether requests to this path are the engine's: SOCKETIO_PATH, with or without a slash at its end."""
        return path.rstrip("/") == self.config.socketio_path

    @functools.cached_property
    def polling(self) -> PollingEndpoint:
        """The ASGI app for requests to SOCKETIO_PATH."""
        return PollingEndpoint(self)

    @property
    def http_protocol(self) -> Callable[..., EngineHttpProtocol]:
        """For uvicorn's `http=`: its HTTP protocol, which hands WebSockets under SOCKETIO_PATH to this engine."""
        return functools.partial(EngineHttpProtocol, self)

    def check(self, request: Request, *, upgrade: bool) -> Refusal | None:
        """Judge the head of a request. Counts what it refuses."""
        sid = request.fields.get("sid")
        connection = self.find(sid) if sid else None
        refusal = check(
            request,
            self.config.transports,
            None if connection is None else connection.transport,
            upgrade=upgrade,
        )
        if refusal is None and not self.origins.allows(request.headers, request.scheme):
            refusal = FORBIDDEN
        return refusal if refusal is None else self.refused(refusal)

    def refused(self, refusal: Refusal) -> Refusal:
        """Count a refusal."""
        self.counters.refused[refusal.message] += 1
        return refusal

    @property
    def waiting(self) -> int:
        """Messages to clients that wait in their sessions."""
        return sum(connection.waiting for connection in self.connections.values())

    def find(self, sid: str) -> EngineConnection | None:
        """The connection of this sid, unless its time is over."""
        connection = self.connections.get(sid)
        if connection is not None:
            connection.catch_up()
            connection = self.connections.get(sid)
        return connection

    def open(self, request: Request, transport: str) -> EngineConnection | Refusal:
        """A new session, with its open packet queued. The caller calls `start` once it can write."""
        connection = self._build(request, transport)
        handler = self._accepter.on_connection(connection)
        if handler is None:
            return self.refused(UNAVAILABLE)
        self.connections[connection.id] = connection
        self.counters.opened += 1
        connection.attach(handler)
        log.debug("connection_opened", connection=connection.name, transport=transport)
        return connection

    def new_socket(self, transport: asyncio.Transport) -> WebSocket:
        """A WebSocket on this TCP connection, to be started once the handshake's response is written."""
        return WebSocket(
            transport, self.config.max_payload_bytes, self._limits.ping_timeout_s, self.clock, self.wheel, self._sockets
        )

    def close_all(self, reason: str = reasons.NODE_DRAINED) -> None:
        """Close every connection, behind what was sent to it."""
        for connection in list(self.connections.values()):
            connection.close(reason)

    def abort_all(self, reason: str = reasons.NODE_DRAINED) -> None:
        """Close every connection at once."""
        for connection in list(self.connections.values()):
            connection.fail(reason)
        for socket in list(self._sockets):
            socket.abort()

    async def drain(self, over_ms: int, reason: str = reasons.NODE_DRAINED) -> None:
        """Close all connections in waves spread over `over_ms`. Those that do not go are aborted at its end.

        Half of the time is for the waves, half for clients to fetch what is still theirs.
        """
        waiting = list(self.connections.values())
        ends_at = self.clock() + over_ms / 1000
        waves = max(1, int(over_ms / 2000 / _WAVE_S))
        size = -(-len(waiting) // waves)
        for start in range(0, len(waiting), max(size, 1)):
            for connection in waiting[start : start + size]:
                connection.close(reason)
            if start + size < len(waiting):
                await asyncio.sleep(_WAVE_S)
        while (self.connections or self._sockets) and self.clock() < ends_at:  # noqa: ASYNC110  # two sets, bounded
            await asyncio.sleep(_LOOK_S)
        if self.connections or self._sockets:
            log.warning("drain_incomplete", connections=len(self.connections), sockets=len(self._sockets))
            self.abort_all(reason)

    def stop(self) -> None:
        """Abort what is left and forget all deadlines."""
        self.abort_all()
        self.wheel.stop()

    def _build(self, request: Request, transport: str) -> EngineConnection:
        config = self.config
        sid = new_sid(self._node_id, self._random_bytes)
        upgrades = ["websocket"] if transport == "polling" and self._limits.allow_upgrades else []
        opening = open_packet(sid, upgrades, config.ping_interval_ms, config.ping_timeout_ms, config.max_payload_bytes)
        session = EngineSession(opening, transport, self._limits, self.counters, self.clock(), request.payload_packets)
        return EngineConnection(sid, request.handshake(), session, self.clock, self.wheel, self._flusher, self._forget)

    def _forget(self, connection: EngineConnection, reason: str) -> None:
        self.connections.pop(connection.id, None)
        self.counters.closed[reason] += 1
        log.debug("connection_closed", connection=connection.name, reason=reason)
