"""The handshake of a WebSocket (RFC 6455 section 4.2): the answer to a request that may upgrade. Pure."""

import base64
import binascii
import hashlib
import re

from io_node.engineio.http.request import BAD_REQUEST, UPGRADE_REQUIRED, Refusal, Request

_SWITCHING_PROTOCOLS = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
"""RFC 6455 section 4.2.2."""
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""RFC 9110 section 5.6.2."""


def accept_key(request: Request) -> bytes | Refusal:
    """The value of Sec-WebSocket-Accept, or why the handshake is refused (RFC 6455 section 4.2)."""
    if request.headers.get("sec-websocket-version") != "13":
        return UPGRADE_REQUIRED
    key = request.headers.get("sec-websocket-key", "").encode("latin-1")
    try:
        valid = len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        valid = False
    if not valid or request.method != "GET" or request.http_version != "1.1":
        return BAD_REQUEST
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())


def switching_protocols(request: Request, accept: bytes) -> bytes:
    """The head of the response: the connection is a WebSocket from now on. `accept` is what `accept_key` returned."""
    return b"".join((_SWITCHING_PROTOCOLS, b"Sec-WebSocket-Accept: ", accept, *_subprotocol(request), b"\r\n\r\n"))


def _subprotocol(request: Request) -> list[bytes]:
    """Agrees to the first subprotocol that the client offers, as Socket.IO's own server does.

    It means nothing to us. But browsers close a WebSocket whose offer found no answer (WHATWG WebSockets, section 2).
    """
    offered = request.headers.get("sec-websocket-protocol", "").partition(",")[0].strip()
    return [b"\r\nSec-WebSocket-Protocol: ", offered.encode("latin-1")] if _TOKEN.fullmatch(offered) else []
