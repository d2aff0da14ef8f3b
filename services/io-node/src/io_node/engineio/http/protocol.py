"""The way in for WebSockets: uvicorn's HTTP protocol, which hands them to the engine, and bounds each request.

`HttpToolsProtocol` is a private class of uvicorn. tests/engineio/test_private_classes.py fails when it changes.
"""

import asyncio
import functools
import re
from typing import Any
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.config import Config as UvicornConfig
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from io_node.engineio.http.admission import Admission
from io_node.engineio.http.handshake import accept_key, switching_protocols
from io_node.engineio.http.request import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    NO_DESCRIPTORS,
    TIMED_OUT,
    TRANSPORT,
    UPGRADE_REQUIRED,
    Refusal,
    Request,
)
from io_node.engineio.wheel import Timer
from io_node.engineio.wire.frames import CloseCode
from sio_cluster.node.process.listening import plain_address

log = structlog.get_logger()

_MAX_HEAD_BYTES = 65536
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_LINGER_S = 2.0
"""How long a client that was refused may take to close the connection."""


class _HeadTooLarge(Exception):
    """Ends the parsing of a request whose head came at once and is too large."""


class EngineHttpProtocol(HttpToolsProtocol):
    """uvicorn's HttpToolsProtocol with these changes:

    - What a new TCP connection brings first has its turn (`Connections.turns`), and so has the end of each: thousands
      may come or go at once.
    - A WebSocket to SOCKETIO_PATH goes to the engine. Others go where uvicorn sends them.
    - The head of any request, and the body of a request to SOCKETIO_PATH, must arrive within REQUEST_TIMEOUT_MS.
      Else the answer is 408.
    - A head of more than 64 KB gets 431, and one that is not HTTP gets 400, both with Socket.IO's JSON.
    - A client that reads nothing of a response from SOCKETIO_PATH for twice PING_TIMEOUT_MS is dropped. If its session
      still exists, that has closed it before.
    - Bytes beyond ASCII in a URL are percent-encoded. They are not allowed there, but some clients send them.
    - A client that is refused here closes the connection itself, or is cut off after 2 s.
    """

    def __init__(
        self,
        admission: Admission,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._admission = admission
        self._connections = admission.connections
        self._timer = Timer(admission.connections.wheel, self._on_timeout)
        self._head_bytes = 0
        self._head_too_large = False
        self._in_head = True
        self._in_message = False
        self._new = True
        self._upgraded = False
        self._lingering = False  # refused: what still comes is read and dropped

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        if self.client is not None:  # a trusted proxy is known by its plain address
            self.client = (plain_address(self.client[0]), self.client[1])
        self._admission.descriptors.run_short()  # it is logged then, whatever this connection is for
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._connections.turns.add(functools.partial(self._on_lost, exc))

    def _on_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn does so only where there was no error
        self._end()

    def data_received(self, data: bytes) -> None:
        if not self._new:
            self._on_data(data)
            return
        self._new = False
        self._timer.cancel()  # until its turn it is not the client that is late
        self.transport.pause_reading()
        self._connections.turns.add(functools.partial(self._on_first_data, data))

    def _on_first_data(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._on_data(data)

    def _on_data(self, data: bytes) -> None:
        if self._lingering:
            return
        if not self._in_message and not self._timer.armed:
            self._arm()
        if self._in_head:
            if not self._head_bytes and not data.isascii():
                data = _with_encoded_url(data)
            self._head_bytes += len(data)
        super().data_received(data)
        if self._lingering:
            return
        if self._upgraded or self.transport.is_closing():
            self._timer.cancel()
        elif self._in_head and self._head_bytes > _MAX_HEAD_BYTES:
            self._refuse(self._admission.refused(HEAD_TOO_LARGE))
        elif not self._in_message and self._head_bytes == 0:
            self._timer.cancel()  # the next request has not begun

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._is_engines():
            self._timer.set(self._connections.clock() + 2 * self._admission.config.ping_timeout_ms / 1000)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._in_message:
            self._timer.cancel()

    # --- httptools --------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._in_message = True
        if not self._timer.armed:
            self._arm()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > _MAX_HEAD_BYTES:
            self._head_too_large = True
            raise _HeadTooLarge
        super().on_headers_complete()
        if self._is_engines():
            self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]  # one of our own
        else:
            self._timer.cancel()

    def on_message_complete(self) -> None:
        self._in_message = False
        self._in_head = True
        self._timer.cancel()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """uvicorn calls it when the parser fails, or one of its callbacks, such as those above."""
        self._refuse(self._admission.refused(HEAD_TOO_LARGE if self._head_too_large else BAD_REQUEST))

    def _should_upgrade_to_ws(self) -> bool:
        return self._is_engines() or super()._should_upgrade_to_ws()

    def handle_websocket_upgrade(self) -> None:
        self._upgraded = True
        self._timer.cancel()
        if not self._is_engines():
            super().handle_websocket_upgrade()
            self._end()
            return
        url = httptools.parse_url(self.url)
        _apply_proxy_headers(self.config, self.scope)
        request = Request.of(self.scope, self.root_path.encode() + url.path, url.query or b"")
        accept = accept_key(request)
        refusal = self._admission.check(request, upgrade=True)
        if refusal is None and isinstance(accept, Refusal):
            refusal = self._admission.refused(accept)
        if refusal is None and self.cycle is not None and not self.cycle.response_complete:
            refusal = self._admission.refused(BAD_REQUEST)
        if refusal is None and isinstance(accept, bytes):
            refusal = self._hand_over(request, accept)
        if refusal is not None:
            self._refuse(refusal)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """This object has nothing more to do: let go of all that holds it in turn."""
        self._timer.end()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does

    def _hand_over(self, request: Request, accept: bytes) -> Refusal | None:
        """Give the TCP connection to a WebSocket of the engine."""
        sid = request.fields.get("sid")
        connection = self._connections.by_sid[sid] if sid else self._admission.open(request, "websocket")
        if isinstance(connection, Refusal):
            return connection
        self.connections.discard(self)
        self.flow.resume_reading()
        self.transport.write(switching_protocols(request, accept))
        socket = self._connections.new_socket(self.transport)
        socket.start(connection)
        if not sid:
            connection.start(socket)
        elif not connection.open_probe(socket):
            socket.close(CloseCode.POLICY_VIOLATION)
        self._end()
        return None

    def _refuse(self, refusal: Refusal) -> None:
        """Answer without ASGI, and close.

        The client closes first, if it does so in time. If we did while it still sends, its system would see a reset,
        and the client might never read our answer (RFC 9112 section 9.6).
        """
        body = refusal.body
        lines = [
            STATUS_LINE[refusal.status],
            b"content-type: application/json\r\nconnection: close\r\n",
            b"content-length: %d\r\n" % len(body),
        ]
        if refusal is UPGRADE_REQUIRED:
            lines.append(b"sec-websocket-version: 13\r\n")
        self.transport.write(b"".join((*lines, b"\r\n", body)))
        if self.cycle is not None:  # its application is told as if the client had gone
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._lingering = True
        if refusal is NO_DESCRIPTORS:  # nothing more of this request comes, and others need the descriptor
            self.transport.close()
            return
        self.flow.resume_reading()
        self.transport.write_eof()
        self._timer.set(self._connections.clock() + _LINGER_S)

    def _arm(self) -> None:
        self._timer.set(self._connections.clock() + self._admission.config.request_timeout_ms / 1000)

    def _on_timeout(self) -> None:
        if self.flow.write_paused or self._lingering:
            self.transport.abort()
            return
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # not the client's fault: we do not read
            self._arm()
            return
        log.debug("request_timed_out", client=self.client)
        self._admission.refused(TIMED_OUT)
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self._refuse(TIMED_OUT)
        else:
            self.transport.close()

    def _is_engines(self) -> bool:
        path: bytes = httptools.parse_url(self.url).path or b""
        return self._admission.handles(self.root_path + unquote(path.decode("latin-1")))


def _apply_proxy_headers(config: UvicornConfig, scope: Any) -> None:
    """Take client and scheme from a trusted proxy, by uvicorn's own rules, as it does for ASGI requests."""
    if not config.proxy_headers:
        return
    trusted = config.forwarded_allow_ips
    step = _proxy_headers(trusted if isinstance(trusted, str) else tuple(trusted))(scope, _no_io, _no_io)
    try:
        step.send(None)
    except StopIteration:
        return
    raise RuntimeError("uvicorn's ProxyHeadersMiddleware waits for something")


@functools.cache
def _proxy_headers(trusted: str | tuple[str, ...]) -> Any:
    return ProxyHeadersMiddleware(_no_app, trusted if isinstance(trusted, str) else list(trusted))


async def _no_app(scope: Any, receive: Any, send: Any) -> None:
    pass


async def _no_io(*args: Any) -> Any:
    raise RuntimeError("headers only")


def _with_encoded_url(data: bytes) -> bytes:
    """`data` begins with a request line, in which other bytes than ASCII can only be those of the URL."""
    line, end, rest = data.partition(b"\r\n")
    return b"".join((_BEYOND_ASCII.sub(lambda byte: b"%%%02X" % ord(byte[0]), line), end, rest))
