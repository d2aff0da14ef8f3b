"""picows' frame parser, without what the engine does itself.

picows parses frames in C. It also wants to read the HTTP handshake, logs each connection, and closes the connection on
an error. Here uvicorn has read the handshake already. So picows is given a short one that was never on the wire, a log
of ours, and a transport that it cannot close.

A parser of picows takes 5 KB, most of it buffers, and most clients are silent most of the time. So all of a node are
read into one buffer, and a parser is lent to a WebSocket only from the first byte of a frame to the last:

    parser = parsers.lend(socket.on_ws_frame, transport)
    parser.feed(parsers.buffer[:size])                      calls `on_ws_frame` for each frame that is complete
    parsers.take_back(parser)                               unless it holds a part of a frame
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog
from picows.picows import (  # type: ignore[attr-defined]  # its stubs leave WSProtocol out
    WSAutoPingStrategy,
    WSFrame,
    WSListener,
    WSProtocol,
    WSTransport,
)

log = structlog.get_logger()

_READ_BYTES: Final = 65536
"""How much of one client is read, and so handled, in one turn of the event loop."""
_SMALL_BYTES: Final = 2048
"""The size of a new parser's buffer. It grows with the frame that it holds, and never shrinks."""
_LARGE_BYTES: Final = 131_072
"""A parser whose buffer is larger than this is given up. What is read in one go leaves it smaller."""
_MOST_FREE: Final = 16
"""How many parsers wait for their next WebSocket."""
_HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)

OnFrame = Callable[[WSTransport, WSFrame], None]


class Counters(Protocol):
    """Where all WebSockets of the node count."""

    websocket_received_bytes: int


class Parsers:
    """The parsers of one node. Only for the event loop's thread."""

    __slots__ = ("_free", "buffer", "counters", "max_frame_bytes")

    def __init__(self, max_frame_bytes: int, counters: Counters) -> None:
        self.max_frame_bytes = max_frame_bytes
        """A longer frame is an error of the peer."""
        self.buffer = memoryview(bytearray(_READ_BYTES))
        """What every WebSocket reads into. `feed` must have taken it before the next one reads."""
        self.counters = counters
        self._free: list[Parser] = []

    def lend(self, on_frame: OnFrame, transport: asyncio.Transport) -> "Parser":
        """An empty parser for the frames that come from this TCP connection."""
        parser = self._free.pop() if self._free else Parser(self.max_frame_bytes)
        parser.relay.on_ws_frame = on_frame
        parser.outlet.transport = transport
        return parser

    def take_back(self, parser: "Parser") -> None:
        """This parser is empty again. It is given up where it cannot be used again."""
        parser.relay.on_ws_frame = _ignore
        parser.outlet.transport = None
        if len(self._free) < _MOST_FREE and parser.reusable:
            self._free.append(parser)


def _ignore(transport: WSTransport, frame: WSFrame) -> None:
    """Where the frames of nobody would go."""


class Parser(WSProtocol):  # type: ignore[misc]  # see its import
    """picows' protocol, which is given what was read."""

    __slots__ = ("outlet", "relay")

    def __init__(self, max_frame_bytes: int) -> None:
        self.relay = relay = _Relay()
        self.outlet = _Outlet()
        super().__init__(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=lambda request: relay,
            logger=_LOG,
            disconnect_on_exception=True,
            websocket_handshake_timeout=None,
            enable_auto_ping=False,
            auto_ping_idle_timeout=10.0,
            auto_ping_reply_timeout=10.0,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=max_frame_bytes,
            extra_headers=None,
            read_buffer_init_size=_SMALL_BYTES,
        )
        self.connection_made(self.outlet)
        self.feed(memoryview(_HANDSHAKE))

    def feed(self, data: memoryview) -> None:
        """Parse what was read. `on_frame` is called for each frame that is complete."""
        room = self.get_buffer(-1)
        while (size := len(room)) < len(data):
            room[:] = data[:size]
            self.buffer_updated(size)
            if self.failed:
                return
            data = data[size:]
            room = self.get_buffer(-1)
        size = len(data)
        room[:size] = data
        self.buffer_updated(size)

    @property
    def failed(self) -> bool:
        """Whether picows has sent a close frame, because the client broke the protocol or `on_frame` raised.

        Feed it no more then.
        """
        return bool(self.transport.is_close_frame_sent)

    @property
    def reusable(self) -> bool:
        """Whether its buffer is not too large, and no close frame has come: picows takes only one."""
        return self.transport.close_handshake is None and len(self.get_buffer(-1)) <= _LARGE_BYTES


class _Relay(WSListener):
    """The listener as picows sees it: for each frame it looks up who gets it."""

    __slots__ = ("on_ws_frame",)

    on_ws_frame: OnFrame  # type: ignore[assignment]  # a slot in place of a method, so that no call comes between

    def on_ws_connected(self, transport: WSTransport) -> None:
        pass


class _Outlet:
    """The transport as picows sees it. picows cannot close it, and must not write past it."""

    __slots__ = ("transport",)

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None

    def write(self, data: bytes) -> None:
        if self.transport is not None:  # else it is the answer to a handshake that nobody sent
            self.transport.write(data)

    def get_write_buffer_size(self) -> int:
        """Where it is 0, picows writes to the file descriptor, which changes with each client."""
        return 1

    def get_extra_info(self, name: str) -> Any:
        return _NoSocket if name == "socket" else None

    def close(self) -> None:
        pass

    abort = close


class _NoSocket:
    """The socket as picows sees it. The event loop has set the options of the real one."""

    @staticmethod
    def fileno() -> int:
        return -1

    @staticmethod
    def setsockopt(level: int, option: int, value: int) -> None:
        pass

    @staticmethod
    def getsockopt(level: int, option: int) -> int:
        return 0


class _PicowsLog:
    """The logger of picows. That a client broke the protocol is logged at debug level; an error of ours as an error."""

    def isEnabledFor(self, level: int) -> bool:
        return False

    def debug(self, message: str, *args: object) -> None:
        pass

    info = warning = debug

    def error(self, message: str, *args: object) -> None:
        log.debug("websocket_protocol_error", detail=message % args)

    def exception(self, message: str, *args: object) -> None:
        log.exception("websocket_handler_failed", detail=message % args)


_LOG = _PicowsLog()
