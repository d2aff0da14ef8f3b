"""picows' frame parser, tamed: no handshake on the wire, no log of its own, and it never closes the connection.

It parses in C, but its read buffer never shrinks, it logs each connection, and it keeps the handshake. So it gets a
handshake of our own making with the least in it.
"""

import asyncio
from typing import Any, Final

import structlog
from picows.picows import (  # type: ignore[attr-defined]  # its stubs leave WSProtocol out
    WSAutoPingStrategy,
    WSListener,
    WSProtocol,
)

log = structlog.get_logger()

_READ_BYTES: Final = 65536
"""Most that is read, and so handled, in one turn of a client."""
_SMALL_BYTES: Final = 2048
_HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_NOBODY: Final = asyncio.Protocol()


def install_parser(transport: asyncio.Transport, socket: WSListener, max_frame_bytes: int) -> "Parser":
    """Let picows read from this TCP connection, as of a WebSocket that is already open.

    `socket` gets the frames. Besides what picows calls, it has `mid_frame`, which becomes True when bytes come, and
    `on_parser_error()`, called when picows met bytes that break the protocol, or the socket raised, and picows has sent
    the close frame; what comes afterwards is dropped.
    """
    outlet = _Outlet(transport)
    parser = Parser(socket, max_frame_bytes)
    parser.connection_made(outlet)
    parser.negotiate()
    outlet.muted = False
    transport.set_protocol(_NOBODY)  # or uvloop keeps the HTTP protocol alive by its `data_received`
    transport.set_protocol(parser)
    return parser


class _Outlet:
    """The transport as picows sees it: mute while it believes that it negotiates, and not for it to close."""

    __slots__ = ("_transport", "muted")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.muted = True

    def write(self, data: bytes) -> None:
        if not self.muted:
            self._transport.write(data)

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str) -> Any:
        return self._transport.get_extra_info(name)

    def close(self) -> None:
        pass

    abort = close


class _PicowsLog:
    """picows' logger. A client that breaks the protocol is a matter for debugging; an error of ours is not."""

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


class Parser(WSProtocol):  # type: ignore[misc]  # see its import
    """picows' protocol, reading in bounded portions."""

    __slots__ = ()

    def __init__(self, socket: WSListener, max_frame_bytes: int) -> None:
        super().__init__(
            None,
            None,
            False,
            lambda request: socket,
            _LOG,
            True,
            None,
            False,
            10.0,
            10.0,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            False,
            max_frame_bytes,
            None,
            _SMALL_BYTES,
        )

    def negotiate(self) -> None:
        buffer = super().get_buffer(-1)
        buffer[: len(_HANDSHAKE)] = _HANDSHAKE
        super().buffer_updated(len(_HANDSHAKE))
        self.transport.request.headers = self.transport.response.headers = None  # nobody asks, and each costs 1 KB

    @property
    def idle_bytes(self) -> int:
        """What is free of the read buffer."""
        return len(super().get_buffer(-1))

    def get_buffer(self, hint: int) -> memoryview:
        buffer: memoryview = super().get_buffer(hint)
        return buffer[:_READ_BYTES]

    def buffer_updated(self, size: int) -> None:
        if self.transport.is_close_frame_sent:
            return
        self.listener.mid_frame = True
        super().buffer_updated(size)
        if self.transport.is_close_frame_sent:
            self.listener.on_parser_error()
