"""All Engine.IO connections of one io-node: how they are opened, found and closed. Knows nothing of HTTP."""

import asyncio
import functools
from collections.abc import Callable, Iterator

import structlog

from io_node.engineio.api import Accepter
from io_node.engineio.connection import EngineConnection
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.limits import Limits
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.tick import Flusher
from io_node.engineio.websocket.parser import Parsers
from io_node.engineio.websocket.socket import WebSocket
from io_node.engineio.wheel import TimerWheel
from io_node.engineio.wire.packets import open_packet
from io_node.turns import Turns, in_turns
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import RandomBytes, new_sid
from sio_cluster.protocol.messages import Handshake

log = structlog.get_logger()

_WAVE_S = 0.1
"""The pause between two waves of a drain."""
_LOOK_S = 0.02
"""How often a drain looks whether all connections have gone."""


class Connections:
    """The connections of one node. Needs a running loop from the first `open` on, none before."""

    def __init__(
        self,
        config: Config,
        accepter: Accepter,
        node_id: str,
        *,
        clock: Callable[[], float],
        random_bytes: RandomBytes,
        counters: EngineCounters,
    ) -> None:
        self.config = config
        self.clock = clock
        self.counters = counters
        self.wheel = TimerWheel(clock)
        self.by_sid: dict[str, EngineConnection] = {}
        self.buffers = Buffers(config.downlink_buffer_bytes, self._relieve_soon)
        self._accepter = accepter
        self._node_id = node_id
        self._random_bytes = random_bytes
        self._flusher = Flusher()
        self.turns = Turns()
        self.draining = False
        """Whether `drain` was called: this node takes no connections any more."""
        self._limits = Limits.of(config)
        self._parsers = Parsers(config.max_payload_bytes, counters)
        self._sockets: set[WebSocket] = set()

    def __len__(self) -> int:
        return len(self.by_sid)

    def __iter__(self) -> Iterator[EngineConnection]:
        return iter(self.by_sid.values())

    @property
    def waiting(self) -> int:
        """How many messages to clients wait in their sessions."""
        return sum(connection.waiting for connection in self.by_sid.values())

    # --- for the ways in

    def find(self, sid: str) -> EngineConnection | None:
        """The connection of this sid. None where there is none, or where its deadline has just closed it."""
        connection = self.by_sid.get(sid)
        if connection is not None:
            connection.catch_up()
            connection = self.by_sid.get(sid)
        return connection

    def open(self, handshake: Handshake, transport: str, payload_packets: int | None = None) -> EngineConnection | None:
        """A new session with its open packet queued. The caller calls `start` once it can write.

        `payload_packets` is how many packets the answer to a poll may hold. None: any number. Returns None if the
        accepter takes no more connections.
        """
        connection = self._build(handshake, transport, payload_packets)
        handler = self._accepter.on_connection(connection)
        if handler is None:
            return None
        self.by_sid[connection.id] = connection
        self.counters.opened += 1
        connection.attach(handler)
        log.debug("connection_opened", connection=connection.name, transport=transport)
        return connection

    def new_socket(self, transport: asyncio.Transport) -> WebSocket:
        """A WebSocket on this TCP connection, to be started once the handshake's response is written."""
        return WebSocket(
            transport,
            self._parsers,
            self._limits.ping_timeout_s,
            self.clock,
            self.wheel,
            self.turns,
            self._sockets,
        )

    # --- their end

    async def close_all(self, reason: str) -> None:
        """Close every connection, after what was sent to it is written."""
        async for connection in in_turns(list(self.by_sid.values())):
            connection.close(reason)

    async def drain(self, over_ms: int, reason: str) -> None:
        """Close all connections in waves, and abort those that are left after `over_ms`.

        The first half of the time is for the waves. In the second half clients fetch what waits for them.
        """
        self.draining = True
        waiting = list(self.by_sid.values())
        ends_at = self.clock() + over_ms / 1000
        waves = max(1, int(over_ms / 2000 / _WAVE_S))
        size = -(-len(waiting) // waves)
        for start in range(0, len(waiting), max(size, 1)):
            async for connection in in_turns(waiting[start : start + size]):
                connection.close(reason)
            if start + size < len(waiting):
                await asyncio.sleep(_WAVE_S)
        while (self.by_sid or self._sockets) and self.clock() < ends_at:  # noqa: ASYNC110  # two sets, bounded
            await asyncio.sleep(_LOOK_S)
        if self.by_sid or self._sockets:
            log.warning("drain_incomplete", connections=len(self.by_sid), sockets=len(self._sockets))
            async for connection in in_turns(list(self.by_sid.values())):
                connection.fail(reason)
            async for socket in in_turns(list(self._sockets)):
                socket.abort()

    def abort_all(self, reason: str = reasons.NODE_DRAINED) -> None:
        """Close every connection at once, in one go. What was queued is lost, and counted."""
        for connection in list(self.by_sid.values()):
            connection.fail(reason)
        for socket in list(self._sockets):
            socket.abort()

    # --- inside

    def _relieve_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._relieve)

    def _relieve(self) -> None:
        """More waits than DOWNLINK_BUFFER_BYTES: close those for which most waits, until there is room."""
        if not self.buffers.full:  # what came in this turn of the loop has left at its end
            self.buffers.relieved()
            return
        log.warning("downlink_buffer_full", waiting_bytes=self.buffers.waiting_bytes)
        behind = [connection for connection in self.by_sid.values() if connection.waiting_bytes]
        behind.sort(key=lambda connection: connection.waiting_bytes, reverse=True)
        for connection in behind:
            self.turns.add(functools.partial(self._relieve_by, connection))
        self.turns.add(self.buffers.relieved)

    def _relieve_by(self, connection: EngineConnection) -> None:
        if not self.buffers.has_room:
            connection.overflow("buffer_full")

    def _build(self, handshake: Handshake, transport: str, payload_packets: int | None) -> EngineConnection:
        config = self.config
        sid = new_sid(self._node_id, self._random_bytes)
        upgrades = ["websocket"] if transport == "polling" and self._limits.allow_upgrades else []
        opening = open_packet(sid, upgrades, config.ping_interval_ms, config.ping_timeout_ms, config.max_payload_bytes)
        session = EngineSession(
            opening, transport, self._limits, self.counters, self.buffers, self.clock(), payload_packets
        )
        return EngineConnection(sid, handshake, session, self.clock, self.wheel, self._flusher, self._forget)

    def _forget(self, connection: EngineConnection, reason: str) -> None:
        self.by_sid.pop(connection.id, None)
        self.counters.closed[reason] += 1
        log.debug("connection_closed", connection=connection.name, reason=reason)
