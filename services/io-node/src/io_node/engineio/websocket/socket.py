"""A WebSocket (RFC 6455) on a TCP connection that uvicorn hands over.

picows parses what comes. What goes out are whole frames, which the owner has made.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Final, Protocol

import structlog
from picows.picows import WSFrame, WSMsgType, WSTransport

from io_node.engineio.websocket.fragments import Fragments
from io_node.engineio.websocket.parser import Parser, Parsers
from io_node.engineio.wheel import Timer, TimerWheel
from io_node.engineio.wire.frames import CLOSE, PONG, CloseCode, close_frame, ws_frame
from io_node.turns import Turns
from sio_cluster.protocol import reasons

log = structlog.get_logger()

_MOST_IGNORED_BYTES: Final = 4_000_000
"""How much is read and dropped after our close frame, before the connection is dropped."""
_NOBODY: Final = asyncio.Protocol()
_FRAME_BYTES: Final = 100
"""What a frame counts besides its payload where bytes are counted that are dropped."""


class Owner(Protocol):
    """The connection that the socket belongs to."""

    def on_text(self, socket: "WebSocket", data: str) -> None: ...
    def on_binary(self, socket: "WebSocket", data: bytes) -> None: ...
    def on_lost(self, socket: "WebSocket", reason: str) -> None: ...
    def on_congested(self, socket: "WebSocket", frames: bytes) -> None: ...
    def on_emptied(self, socket: "WebSocket") -> None: ...


class WebSocket(asyncio.BufferedProtocol):
    """One WebSocket. Its owner gets whole messages. `on_lost` comes at most once, as the last call, in a turn of its
    own: thousands may be lost at once.

    It closes with `CloseCode.TOO_BIG` on a message above `max_payload_bytes`, with INVALID_TEXT on text that is not
    UTF-8, and with PROTOCOL_ERROR on what else breaks the protocol. After `close` the peer has `close_timeout_s` to
    answer. Then the TCP connection is dropped.
    """

    __slots__ = (
        "_clock",
        "_close_timeout_s",
        "_closing",
        "_congested",
        "_fragments",
        "_ignored",
        "_mid_frame",
        "_open_sockets",
        "_owner",
        "_parser",
        "_parsers",
        "_parting",
        "_pong",
        "_timer",
        "_transport",
        "_turns",
        "_wheel",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        parsers: Parsers,
        close_timeout_s: float,
        clock: Callable[[], float],
        wheel: TimerWheel,
        turns: Turns,
        open_sockets: "set[WebSocket]",
    ) -> None:
        """`open_sockets`: those of the node. This one adds and removes itself."""
        self._transport = transport
        self._parsers = parsers
        self._close_timeout_s = close_timeout_s
        self._clock = clock
        self._wheel = wheel
        self._turns = turns
        self._open_sockets = open_sockets
        self._owner: Owner | None = None
        self._parser: Parser | None = None  # while a part of a frame has come, or after the peer broke the protocol
        self._mid_frame = False
        self._timer: Timer | None = None
        self._closing = False  # our close frame is written, or the connection is gone
        self._parting = False  # our close frame is written, but the owner still gets what comes
        self._fragments: Fragments | None = None
        self._ignored = 0
        self._congested = False
        self._pong: bytes | None = None

    def start(self, owner: Owner) -> None:
        """Begin to read. The response to the handshake must be written already."""
        self._owner = owner
        self._open_sockets.add(self)
        self._transport.set_protocol(_NOBODY)  # or uvloop keeps the HTTP protocol alive by its `data_received`
        self._transport.set_protocol(self)
        self._transport.set_write_buffer_limits(high=0)  # congested as soon as the kernel does not take all

    @property
    def backlog(self) -> int:
        """How many bytes of what was written the kernel has not taken."""
        return 0 if self._closing else self._transport.get_write_buffer_size()

    def write(self, frames: bytes) -> None:
        """Write whole frames. Never blocks. Where the kernel does not take all, it calls `on_congested` from within.

        Write nothing more then until `on_emptied` comes.
        """
        if not self._closing:
            self._transport.write(frames)
            if self._congested and self._owner is not None:
                self._owner.on_congested(self, frames)

    def part(self, code: int) -> None:
        """Write a close frame, and go on reading. The owner still gets what the client sent before it knew, and then
        `on_lost`."""
        if not self._closing:
            self._parting = True
            self._say_goodbye(code)

    def close(self, code: int) -> None:
        """Write a close frame. The owner gets nothing any more."""
        self._owner = None
        self._stop_parting()
        self._say_goodbye(code)

    def abort(self) -> None:
        """Drop the connection at once, with what was written and has not left."""
        self._owner = None
        self._closing = True
        self._transport.abort()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # --- asyncio.BufferedProtocol -----------------------------------------------------------------------------------

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._parsers.buffer

    def buffer_updated(self, nbytes: int) -> None:
        parsers, parser = self._parsers, self._parser
        parsers.counters.websocket_received_bytes += nbytes
        if parser is None:
            parser = self._parser = parsers.lend(self.on_ws_frame, self._transport)
        elif parser.failed:
            return
        self._mid_frame = True
        parser.feed(parsers.buffer[:nbytes])
        if parser.failed:
            self._on_parser_error()
        elif not self._mid_frame:
            self._parser = None
            parsers.take_back(parser)

    def eof_received(self) -> bool:
        """The client has closed its end. Thousands may do that at once, so all that follows has its turn later."""
        self._turns.add(self._on_gone)
        return True  # the transport stays open for now

    def pause_writing(self) -> None:
        self._congested = True  # `write`, from within which this comes, tells the owner

    def resume_writing(self) -> None:
        self._congested = False
        pong, self._pong = self._pong, None
        if pong is not None:
            self.write(pong)
        if self._owner is not None and not self._congested:
            self._owner.on_emptied(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._open_sockets.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        self._lost(reasons.TRANSPORT_CLOSE)
        self._parser = None

    # --- from picows ------------------------------------------------------------------------------------------------

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._mid_frame = frame.tail_size > 0
        kind = frame.msg_type
        if self._closing:
            if kind == WSMsgType.CLOSE:
                self._transport.close()
                self._lost(reasons.TRANSPORT_CLOSE)
                return
            if not self._parting or kind == WSMsgType.PING:
                self._ignore(frame)
                return
        if frame.rsv1 or frame.rsv2 or frame.rsv3:  # no extension was agreed on
            self._fail(CloseCode.PROTOCOL_ERROR)
        elif kind == WSMsgType.TEXT and frame.fin and self._fragments is None:
            try:
                data = frame.get_payload_as_utf8_text()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_TEXT)
                return
            if self._owner is not None:
                self._owner.on_text(self, data)
        else:
            self._on_other_frame(kind, frame)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _on_parser_error(self) -> None:
        """picows has sent a close frame: the peer broke the protocol, or our code raised.

        What still comes is read and dropped until the peer ends the connection. Only so is it sure to see our close
        frame.
        """
        if self._closing:
            return
        self._closing = True
        self._fragments = None
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._drop_later()
        self._lost(reasons.TRANSPORT_ERROR)

    def _on_gone(self) -> None:
        self._closing = True
        self._transport.close()
        owner, self._owner = self._owner, None
        if owner is not None:
            owner.on_lost(self, reasons.TRANSPORT_CLOSE)

    def _ignore(self, frame: WSFrame) -> None:
        """Count what comes after our close frame. A well-behaved client sends little; one that floods is dropped."""
        self._ignored += frame.payload_size + _FRAME_BYTES
        if self._ignored > _MOST_IGNORED_BYTES:
            self._transport.abort()

    def _on_other_frame(self, kind: WSMsgType, frame: WSFrame) -> None:
        match kind:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                if self._fragments is not None:
                    self._fail(CloseCode.PROTOCOL_ERROR)
                    return
                self._fragments = Fragments(text=kind == WSMsgType.TEXT)
                self._collect(self._fragments, frame)
            case WSMsgType.CONTINUATION:
                if self._fragments is None:
                    self._fail(CloseCode.PROTOCOL_ERROR)
                else:
                    self._collect(self._fragments, frame)
            case WSMsgType.PING:
                self._answer_ping(ws_frame(frame.get_payload_as_bytes(), PONG))
            case WSMsgType.CLOSE:
                self._on_close_frame(frame)
            case _:  # PONG: nothing was asked
                pass

    def _answer_ping(self, pong: bytes) -> None:
        """Answer at once, or, where the client does not read, only the latest PING (RFC 6455 section 5.5.3).

        So a flood of PINGs does not fill our memory.
        """
        if self._congested:
            self._pong = pong
        else:
            self.write(pong)

    def _collect(self, fragments: Fragments, frame: WSFrame) -> None:
        if not fragments.add(frame, self._parsers.max_frame_bytes):
            self._fail(CloseCode.TOO_BIG)
            return
        if not frame.fin:
            return
        self._fragments = None
        try:
            message = fragments.joined()
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_TEXT)
            return
        if self._owner is None:
            return
        if isinstance(message, str):
            self._owner.on_text(self, message)
        else:
            self._owner.on_binary(self, message)

    def _on_close_frame(self, frame: WSFrame) -> None:
        """Answer with the same code, then close the TCP connection (RFC 6455 section 5.5.1)."""
        code = frame.get_payload_as_bytes()[:2]
        self._closing = True
        self._transport.write(ws_frame(code, CLOSE))
        self._drop_later()
        self._transport.close()
        self._lost(reasons.TRANSPORT_CLOSE)

    def _fail(self, code: int) -> None:
        log.debug("websocket_error", code=code)
        self._stop_parting()
        self._say_goodbye(code)
        self._lost(reasons.TRANSPORT_ERROR)

    def _stop_parting(self) -> None:
        """From now on what comes is dropped, and bounded as after any close frame."""
        if self._parting:
            self._parting = False
            self._fragments = None
            self.resume_reading()

    def _say_goodbye(self, code: int) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._parting:
            self._fragments = None
        self._transport.write(close_frame(code))
        # Wait for the peer's close frame. If TCP were closed with unread input, the kernel would drop our output.
        self._drop_later()

    def _drop_later(self) -> None:
        self._timer = self._wheel.schedule(self._clock() + self._close_timeout_s, self._transport.abort)
        if not self._parting:  # while parting, the owner still gets what comes, so its backpressure stays
            self.resume_reading()

    def _lost(self, reason: str) -> None:
        owner, self._owner = self._owner, None
        if owner is not None:
            self._turns.add(functools.partial(owner.on_lost, self, reason))
