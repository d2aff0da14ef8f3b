"""One Engine.IO connection: its session, its poll or WebSocket, and the handler that it serves."""

import asyncio
import zlib
from collections.abc import Callable, Iterable
from typing import Protocol, assert_never

import structlog

from io_node.engineio.api import ConnectionHandler, Outbound
from io_node.engineio.session.effects import (
    AnswerPoll,
    Closed,
    CloseProbe,
    CloseSocket,
    Effect,
    FlushLater,
    PartSocket,
    Upgraded,
    Watch,
    WriteProbe,
    WriteSocket,
)
from io_node.engineio.session.machine import EngineSession, State
from io_node.engineio.tick import Flusher
from io_node.engineio.wheel import Timer, TimerWheel
from io_node.engineio.wire.frames import CloseCode
from io_node.engineio.wire.packets import Message
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.messages import Handshake

log = structlog.get_logger()

_OPEN = State.OPEN
_POST_SLICE = 200
"""How many packets of one POST are handled before other clients get their turn."""


class Socket(Protocol):
    """A WebSocket, as the connection uses it."""

    @property
    def backlog(self) -> int: ...
    def write(self, frames: bytes) -> None: ...
    def close(self, code: int) -> None: ...
    def part(self, code: int) -> None: ...
    def abort(self) -> None: ...
    def trim(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Response(Protocol):
    """A payload that is written in pieces, as the connection uses it."""

    @property
    def backlog(self) -> int:
        """How many bytes of it the client has not taken."""

    def abort(self) -> None:
        """Drop the HTTP connection at once."""


class EngineConnection:
    """Implements `api.Connection`: feeds the session, carries out its effects, and calls its `tick` in time."""

    __slots__ = (
        "_clock",
        "_flusher",
        "_forget",
        "_handler",
        "_poll",
        "_posting",
        "_probe",
        "_readable",
        "_response",
        "_session",
        "_socket",
        "_timer",
        "_timer_at",
        "closed_reason",
        "handshake",
        "id",
    )

    def __init__(
        self,
        sid: str,
        handshake: Handshake,
        session: EngineSession,
        clock: Callable[[], float],
        wheel: TimerWheel,
        flusher: Flusher,
        forget: Callable[["EngineConnection", str], None],
    ) -> None:
        """`forget(connection, reason)` is called once, when the session is over."""
        self.id = sid
        self.handshake = handshake
        self.closed_reason: str | None = None
        self._session = session
        self._clock = clock
        self._flusher = flusher
        self._forget = forget
        self._handler: ConnectionHandler | None = None
        self._poll: asyncio.Future[bytes] | None = None
        self._posting = False
        self._readable: asyncio.Future[None] | None = None
        self._response: Response | None = None
        self._socket: Socket | None = None
        self._probe: Socket | None = None
        self._timer = Timer(wheel, self._on_timer)
        self._timer_at = float("inf")

    # --- api.Connection ---------------------------------------------------------------------------------------------

    @property
    def transport(self) -> str:
        return self._session.transport

    def send(self, message: Outbound) -> None:
        if self._session.send(message):
            self._flusher.add(self)

    def keep(self, message: Outbound) -> None:
        self._session.keep(message)

    def let_go(self, message: Outbound) -> None:
        self._session.let_go(message)

    def close(self, reason: str) -> None:
        self._apply(self._session.close(reason, self._clock()))
        self._arm()
        self._flusher.add(self)

    def pause_reading(self) -> None:
        if self._readable is not None or self._session.state is State.CLOSED:
            return
        self._readable = asyncio.get_running_loop().create_future()
        self._session.paused(True, self._clock())
        if self._socket is not None:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if self._readable is None:
            return
        if not self._readable.done():
            self._readable.set_result(None)
        self._readable = None
        self._session.paused(False, self._clock())
        if self._socket is not None:
            self._socket.resume_reading()

    # --- from the server --------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """What logs call this connection, since its sid is a secret."""
        return f"{zlib.crc32(self.id.encode()):08x}"

    @property
    def waiting(self) -> int:
        """How many messages to the client wait in the session."""
        return self._session.waiting

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the client, wherever in this node."""
        return self._session.waiting_bytes

    def overflow(self) -> None:
        """Too much waits in the node, and most of it for this client: close at once."""
        self._apply(self._session.overflow())

    def attach(self, handler: ConnectionHandler) -> None:
        self._handler = handler

    def start(self, socket: Socket | None) -> None:
        """Begin. `socket` is the WebSocket that the session opened on, None for polling."""
        self._socket = socket
        self._arm()
        self.flush()

    def catch_up(self) -> None:
        """Do what is due now. The wheel may be late, and a request must not find a session whose time is over."""
        now = self._clock()
        if now >= self._session.deadline:
            self._tick(now)

    def flush(self) -> None:
        """Write what was sent in this tick."""
        self._apply(self._session.flush())
        if self._session.state is not _OPEN:  # a node that drains sets a nearer deadline
            self._arm()

    # --- from the polling endpoint ----------------------------------------------------------------------------------

    def poll(self) -> asyncio.Future[bytes] | None:
        """The payload, which may be still to come. None: two polls at once, so the session closes.

        A poll that comes while the answer to the one before is still being written is one too many as well.
        """
        session = self._session
        if session.poll_waiting or self._response is not None:
            self.fail(reasons.TRANSPORT_ERROR)
            return None
        waiting: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._poll = waiting
        self._apply(session.poll(self._clock()))
        self._arm()
        return waiting

    def begin_response(self, payload: bytes, response: Response) -> None:
        """A large payload is on its way. Until `end_response` it counts as waiting for the client."""
        self._response = response
        self._session.congested(payload, len(payload), self._clock())
        self._arm()

    def end_response(self, response: Response) -> None:
        """The client has taken all of it, or has gone."""
        if response is self._response:
            self._response = None
            self._apply(self._session.drained(self._clock()))
            self._arm()

    def begin_post(self) -> bool:
        """False: two POSTs at once. The session closes."""
        if self._posting:
            self.fail(reasons.TRANSPORT_ERROR)
            return False
        self._posting = True
        return True

    def end_post(self) -> None:
        self._posting = False

    async def post(self, body: bytes) -> bool:
        """Handle a payload. Other clients get their turn meanwhile. False if it was no Engine.IO payload."""
        complete = False
        try:
            for count, effects in enumerate(self._session.post(body, self._clock()), 1):
                if not self._apply(effects):  # the session closes, and ignores the rest
                    complete = True
                    return True
                if count % _POST_SLICE == 0:
                    await asyncio.sleep(0)
            complete = True
        finally:
            if not complete:  # a bug, or the server stops. The rest of the payload is lost, so the session must end
                self.fail(reasons.TRANSPORT_ERROR)
            self._arm()
        return self.closed_reason != reasons.PARSE_ERROR

    async def readable(self) -> None:
        """Wait until reading is not paused."""
        while self._readable is not None:
            await self._readable

    def fail(self, reason: str) -> None:
        """The transport failed: close at once."""
        self._apply(self._session.fail(reason))

    # --- from WebSockets --------------------------------------------------------------------------------------------

    def open_probe(self, socket: Socket) -> bool:
        """A WebSocket came for an upgrade. False: this session cannot upgrade now."""
        if not self._session.open_probe(self._clock()):
            return False
        self._probe = socket
        self._arm()
        return True

    def on_text(self, socket: Socket, data: str) -> None:
        if socket is self._socket:
            self._apply(self._session.text(data, self._clock()))
            if data[:1] == "3":  # after a PONG the next PING is due, sooner than the end would have been
                self._arm()
        elif socket is self._probe:
            self._apply(self._session.probe_text(data))
            self._arm()

    def on_binary(self, socket: Socket, data: bytes) -> None:
        if socket is self._socket:
            self._apply(self._session.binary(data))
        elif socket is self._probe:
            self._apply(self._session.probe_closed())

    def on_lost(self, socket: Socket, reason: str) -> None:
        """The socket is gone or closing. Nothing comes from it any more."""
        if socket is self._socket:
            self._socket = None
            self._apply(self._session.fail(reason))
        elif socket is self._probe:
            self._probe = None
            self._apply(self._session.probe_closed())

    def on_congested(self, socket: Socket, frames: bytes) -> None:
        """The socket did not take all of these frames."""
        if socket is self._socket:
            self._session.congested(frames, socket.backlog, self._clock())
            self._arm()

    def on_drained(self, socket: Socket) -> None:
        if socket is self._socket:
            self._apply(self._session.drained(self._clock()))
            self._arm()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        self._timer_at = float("inf")
        if self._socket is not None:
            self._socket.trim()
        self._tick(self._clock())

    def _tick(self, now: float) -> None:
        """Do what is due. Before, say what the client has taken meanwhile: it may be what keeps the session open."""
        transport = self._socket or self._response
        if transport is not None:
            self._session.left(transport.backlog, now)
        self._apply(self._session.tick(now))
        self._arm()

    def _arm(self) -> None:
        """Set the timer where the deadline has come nearer. One that moved away is seen when the old one comes."""
        deadline = self._session.deadline
        if deadline < self._timer_at:
            self._timer_at = deadline
            self._timer.set(deadline)

    def _apply(self, effects: Iterable[Effect]) -> bool:
        """False: a message was refused, and the effects behind it are dropped."""
        for effect in effects:
            match effect:
                case Message(data):
                    if not self._deliver(data):
                        return False
                case WriteSocket(frames):
                    if self._socket is not None:
                        self._socket.write(frames)
                case AnswerPoll(payload):
                    waiting, self._poll = self._poll, None
                    if waiting is not None and not waiting.done():
                        waiting.set_result(payload)
                case WriteProbe(frames):
                    if self._probe is not None:
                        self._probe.write(frames)
                case CloseProbe():
                    self._close_socket(self._probe, CloseCode.POLICY_VIOLATION)
                    self._probe = None
                case Upgraded():
                    self._on_upgraded()
                case CloseSocket(code):
                    self._close_socket(self._socket, code)
                    self._socket = None
                case PartSocket(code):
                    if self._socket is not None:
                        self._socket.part(code)
                case FlushLater():
                    self._flusher.add(self)
                case Watch():
                    self._session.watch(self._clock())
                    self._arm()
                case Closed(reason):
                    self._on_closed(reason)
                case _:
                    assert_never(effect)
        return True

    def _deliver(self, data: str | bytes) -> bool:
        """False: drop the rest of this input."""
        if self._handler is None:
            return False
        try:
            self._handler.on_message(data)
        except MalformedPacket as error:
            log.debug("malformed_packet", connection=self.name, error=str(error))
            self._apply(self._session.malformed_message(self._clock()))
            return False
        return True

    def _on_upgraded(self) -> None:
        self._socket, self._probe = self._probe, None
        if self._readable is not None and self._socket is not None:
            self._socket.pause_reading()
        if self._handler is not None:
            self._handler.on_upgrade(self._session.transport)

    def _on_closed(self, reason: str) -> None:
        self.closed_reason = reason
        self._timer.cancel()
        if self._readable is not None:
            self.resume_reading()
        response, self._response = self._response, None
        if response is not None:
            response.abort()
        handler, self._handler = self._handler, None
        self._forget(self, reason)
        if handler is not None:
            handler.on_close(reason)

    @staticmethod
    def _close_socket(socket: Socket | None, code: int | None) -> None:
        if socket is None:
            return
        if code is None:
            socket.abort()
        else:
            socket.close(code)
