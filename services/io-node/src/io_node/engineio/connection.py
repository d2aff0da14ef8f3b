"""One Engine.IO connection: its session, its requests (`polls`) or WebSocket, and the handler that it serves."""

import zlib
from collections.abc import Callable, Iterable
from typing import Protocol, assert_never

import structlog

from io_node.engineio.api import ConnectionHandler, Outbound, Sendable
from io_node.engineio.polls import Polls
from io_node.engineio.session import inbound
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
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.messages import Handshake

log = structlog.get_logger()

_OPEN = State.OPEN


class Socket(Protocol):
    """What carries messages both ways, such as a WebSocket, as the connection uses it."""

    @property
    def backlog(self) -> int: ...
    def write(self, frames: bytes) -> None: ...
    def close(self, code: int) -> None: ...
    def part(self, code: int) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class EngineConnection:
    """Implements `api.Connection`: feeds the session, carries out its effects, and calls its `tick` in time."""

    __slots__ = (
        "_flusher",
        "_forget",
        "_handler",
        "_on_taken",
        "_polls",
        "_probe",
        "_queue",
        "_session",
        "_socket",
        "_timer",
        "clock",
        "closed_reason",
        "handshake",
        "id",
        "paused",
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
        self.paused = False
        """Whether reading from the client is paused."""
        self._session = session
        self._queue = session.queue
        self.clock = clock
        self._flusher = flusher
        self._forget = forget
        self._handler: ConnectionHandler | None = None
        self._on_taken: list[Callable[[], None]] | None = None
        self._polls: Polls | None = None
        self._socket: Socket | None = None
        self._probe: Socket | None = None
        self._timer = Timer(wheel, self._on_timer)

    # --- api.Connection ---------------------------------------------------------------------------------------------

    @property
    def transport(self) -> str:
        return self._session.transport

    def send(self, message: Sendable) -> None:
        if self._queue.send(message):
            self._flusher.add(self)

    def send_with_offset(self, message: Sendable) -> None:
        if self._queue.send(message.twin or message.with_offset()):
            self._flusher.add(self)

    def when_taken(self, callback: Callable[[], None]) -> None:
        if self._on_taken is None:
            self._on_taken = []
        self._on_taken.append(callback)

    def keep(self, message: Outbound) -> None:
        self._queue.keep(message)

    def let_go(self, message: Outbound) -> None:
        self._queue.let_go(message)

    def close(self, reason: str) -> None:
        self.apply(self._session.close(reason, self.clock()))
        self.arm()
        self._flusher.add(self)

    def pause_reading(self) -> None:
        if self.paused or self._session.state is State.CLOSED:
            return
        self.paused = True
        self._session.heartbeat.pause(True, self.clock())
        if self._socket is not None:
            self._socket.pause_reading()

    def resume_reading(self) -> None:
        if not self.paused:
            return
        self.paused = False
        if self._polls is not None:
            self._polls.resume()
        self._session.heartbeat.pause(False, self.clock())
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
        return self._queue.messages

    @property
    def waiting_bytes(self) -> int:
        """How many bytes wait for the client, wherever in this node."""
        return self._queue.waiting_bytes

    def overflow(self, why: str) -> None:
        """Too much waits for this client: close at once."""
        self.apply(self._session.overflow(why))

    def attach(self, handler: ConnectionHandler) -> None:
        self._handler = handler

    def start(self, socket: Socket | None) -> None:
        """Begin. `socket` is the WebSocket that the session opened on, None for polling."""
        self._socket = socket
        self.arm()
        self.flush()

    def catch_up(self) -> None:
        """Do what is due now. The wheel may be late, and a request must not find a session whose time is over."""
        now = self.clock()
        if now >= self._session.deadline:
            self._tick(now)

    def flush(self) -> None:
        """Write what was sent in this tick."""
        socket = self._socket
        frames = b"" if socket is None else self._session.take_frames()
        if socket is not None and frames:
            socket.write(frames)
            if self._on_taken is not None and self._queue.is_empty:
                self._tell_taken()
            return
        self.apply(self._session.flush())
        if self._session.state is not _OPEN:  # a node that drains sets a nearer deadline
            self.arm()

    # --- from the polling endpoint ----------------------------------------------------------------------------------

    @property
    def polls(self) -> Polls:
        """Its HTTP requests. A connection that opened by WebSocket has none.

        A request keeps them until it ends: once the connection has closed, they are not here any more.
        """
        polls = self._polls
        if polls is None:
            polls = self._polls = Polls(self, self._session)
        return polls

    def fail(self, reason: str) -> None:
        """The transport failed: close at once."""
        self.apply(self._session.end(reason))

    # --- from WebSockets --------------------------------------------------------------------------------------------

    def open_probe(self, socket: Socket) -> bool:
        """A WebSocket came for an upgrade. False: this session cannot upgrade now."""
        if not inbound.open_probe(self._session, self.clock()):
            return False
        self._probe = socket
        self.arm()
        return True

    def on_text(self, socket: Socket, data: str) -> None:
        if socket is self._socket:
            self.apply(inbound.text(self._session, data, self.clock()))
            if data[:1] == "3":  # after a PONG the next PING is due, sooner than the end would have been
                self.arm()
        elif socket is self._probe:
            self.apply(inbound.probe_text(self._session, data))
            self.arm()

    def on_binary(self, socket: Socket, data: bytes) -> None:
        if socket is self._socket:
            self.apply(inbound.binary(self._session, data))
        elif socket is self._probe:
            self.apply(inbound.probe_closed(self._session))

    def on_lost(self, socket: Socket, reason: str) -> None:
        """The socket is gone or closing. Nothing comes from it any more."""
        if socket is self._socket:
            self._socket = None
            self.apply(self._session.end(reason))
        elif socket is self._probe:
            self._probe = None
            self.apply(inbound.probe_closed(self._session))

    def on_congested(self, socket: Socket, frames: bytes) -> None:
        """The socket did not take all of these frames."""
        if socket is self._socket:
            self._session.congested(frames, socket.backlog, self.clock())
            self.arm()

    def on_emptied(self, socket: Socket) -> None:
        if socket is self._socket:
            self.apply(self._session.emptied(self.clock()))
            self.arm()

    # --- what the session wants -------------------------------------------------------------------------------------

    def arm(self) -> None:
        """Set the timer where the deadline has come nearer. One that moved away is seen when the old one comes."""
        self._timer.set_earlier(self._session.deadline)

    def apply(self, effects: Iterable[Effect]) -> bool:
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
                    self.polls.answer(payload)
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
                    self._session.watch(self.clock())
                    self.arm()
                case Closed(reason):
                    self._on_closed(reason)
                case _:
                    assert_never(effect)
        if self._on_taken is not None and self._queue.is_empty:
            self._tell_taken()
        return True

    # --- inside -----------------------------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        self._tick(self.clock())

    def _tick(self, now: float) -> None:
        """Do what is due. Before, say what the client has taken meanwhile: it may be what keeps the session open."""
        transport = self._socket or (None if self._polls is None else self._polls.response)
        if transport is not None:
            self._session.left(transport.backlog, now)
        self.apply(self._session.tick(now))
        self.arm()

    def _tell_taken(self) -> None:
        callbacks, self._on_taken = self._on_taken, None
        for callback in callbacks or ():
            callback()

    def _deliver(self, data: str | bytes) -> bool:
        """False: drop the rest of this input."""
        if self._handler is None:
            return False
        try:
            self._handler.on_message(data)
        except MalformedPacket as error:
            log.debug("malformed_packet", connection=self.name, error=str(error))
            self.apply(inbound.malformed_message(self._session, self.clock()))
            return False
        return True

    def _on_upgraded(self) -> None:
        self._socket, self._probe = self._probe, None
        if self.paused and self._socket is not None:
            self._socket.pause_reading()
        if self._handler is not None:
            self._handler.on_upgrade(self._session.transport)

    def _on_closed(self, reason: str) -> None:
        """Let go of all that holds this connection in turn, so that it goes as soon as nobody uses it any more."""
        self.closed_reason = reason
        self._on_taken = None
        self._timer.end()
        self.resume_reading()
        polls, self._polls = self._polls, None
        if polls is not None:
            polls.abort()
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
