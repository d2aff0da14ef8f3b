"""picows' frame parser, without what the engine does itself.

picows parses frames in C. It also wants to read the HTTP handshake, keeps it in memory, logs each connection, and
closes the connection on an error. Here uvicorn has read the handshake already. So picows is given a short one that was
never on the wire, a log of ours, and a transport that it cannot close.
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
"""How much of one client is read, and so handled, in one turn of the event loop."""
_SMALL_BYTES: Final = 2048
"""The size of a new read buffer."""
_HANDSHAKE: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_NOBODY: Final = asyncio.Protocol()


def install_parser(transport: asyncio.Transport, socket: WSListener, max_frame_bytes: int) -> "Parser":
    """Let picows read from this TCP connection, on which the WebSocket handshake is done.

    `socket` gets the frames, as any listener of picows. Besides, it has

    - `mid_frame`, which is set to True when bytes come;
    - `on_eof()`, which is called when the client has closed its end. The socket must close the transport.
    - `on_parser_error()`, which is called when picows has sent a close frame, because the client broke the protocol or
      the socket raised. What comes afterwards is dropped.
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
    """The transport as picows sees it. While `muted` it writes nothing, and picows cannot close it."""

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


class Parser(WSProtocol):  # type: ignore[misc]  # see its import
    """picows' protocol, which reads at most `_READ_BYTES` at a time."""

    __slots__ = ()

    def __init__(self, socket: WSListener, max_frame_bytes: int) -> None:
        super().__init__(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=lambda request: socket,
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

    def negotiate(self) -> None:
        buffer = super().get_buffer(-1)
        buffer[: len(_HANDSHAKE)] = _HANDSHAKE
        super().buffer_updated(len(_HANDSHAKE))
        self.transport.request.headers = self.transport.response.headers = None  # unused, and each takes 1 KB

    @property
    def idle_bytes(self) -> int:
        """How much of the read buffer is free."""
        return len(super().get_buffer(-1))

    def eof_received(self) -> bool:
        self.listener.on_eof()
        return True  # the transport stays open for now

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
