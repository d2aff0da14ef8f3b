"""The head of an HTTP request to the engine, and how it is refused. Pure.

The answers are those of Socket.IO's own server.
"""

import functools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from sio_cluster.protocol.messages import Handshake

TRANSPORT = "io_node.transport"
"""The extension of a request's ASGI scope that is its TCP connection, an `asyncio.Transport`."""

_MAX_FIELDS = 100
_PYTHON_PAYLOAD_PACKETS = 16
"""python-engineio's client gives up on a payload of more packets (`Payload.max_decode_packets`).

It is known by the name of its HTTP library, such as `Python/3.13 aiohttp/3.14` or `python-requests/2.34`. Other clients
get payloads of any size, since smaller ones would only cost them round trips.
"""
_SHORT_BYTES = 256
"""Longer header values are not shared."""
_SHARED = frozenset(
    b"accept accept-encoding accept-language cache-control connection host origin pragma referer sec-ch-ua "
    b"sec-ch-ua-mobile sec-ch-ua-platform sec-fetch-dest sec-fetch-mode sec-fetch-site sec-websocket-extensions "
    b"sec-websocket-version upgrade user-agent x-forwarded-host x-forwarded-proto".split()
)
"""Headers whose values many clients send. Such a name and value are kept once, and not once for each connection."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP error. `status` is as in RFC 9110 section 15.

    `code` and `message` are those of Socket.IO's server (engine.io, `Server.errors`). Where it has none that fits,
    `code` is 3, its "Bad request". `closes`: the HTTP connection ends with it. So a client comes to another io-node
    when it tries again, if a balancer of TCP connections stands in front.
    """

    status: int
    code: int
    message: str
    closes: bool = False

    @property
    def body(self) -> bytes:
        return json.dumps({"code": self.code, "message": self.message}, separators=(",", ":")).encode()


UNKNOWN_TRANSPORT = Refusal(400, 0, "Transport unknown")
UNKNOWN_SID = Refusal(400, 1, "Session ID unknown")
BAD_METHOD = Refusal(400, 2, "Bad handshake method")
BAD_REQUEST = Refusal(400, 3, "Bad request")
FORBIDDEN = Refusal(403, 4, "Forbidden")
UNSUPPORTED_VERSION = Refusal(400, 5, "Unsupported protocol version")
TIMED_OUT = Refusal(408, 3, "Request took too long")
TOO_LARGE = Refusal(413, 3, "Payload too large")
UPGRADE_REQUIRED = Refusal(426, 3, "WebSocket version 13 required")
"""The answer names the version in Sec-WebSocket-Version (RFC 6455 section 4.2.2)."""
HEAD_TOO_LARGE = Refusal(431, 3, "Request header too large")
"""RFC 6585 section 5."""
NO_DESCRIPTORS = Refusal(503, 3, "Too many open files", closes=True)
DRAINING = Refusal(503, 3, "Not accepting connections", closes=True)
NOT_READY = Refusal(503, 3, "Not accepting connections")
"""The node is starting. It will take connections soon, so a proxy may keep its own."""

REFUSALS: tuple[Refusal, ...] = tuple(value for value in globals().values() if isinstance(value, Refusal))
"""All of the above. `/metrics` has each message from the start."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of an HTTP request. `path` and `query` are as they were sent, percent-encoded.

    `headers` are by lower-case name; where a name comes twice, the last one counts.
    """

    method: str
    path: str
    query: str
    scheme: str
    http_version: str
    client: tuple[str, int] | None
    raw_headers: list[tuple[bytes, bytes]]
    headers: Mapping[str, str]
    fields: Mapping[str, str]

    @staticmethod
    def of(scope: Mapping[str, object], path: bytes, query: bytes) -> "Request":
        """From an ASGI scope, and the path and query as they were sent. A query that cannot be parsed has no fields."""
        raw: list[tuple[bytes, bytes]] = scope["headers"]  # type: ignore[assignment]  # ASGI says so
        text = query.decode("latin-1")
        return Request(
            method=str(scope["method"]),
            path=path.decode("latin-1"),
            query=text,
            scheme=str(scope.get("scheme") or "http"),
            http_version=str(scope["http_version"]),
            client=scope.get("client"),  # type: ignore[arg-type]  # ASGI says so
            raw_headers=raw,
            headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw},
            fields=_fields(text),
        )

    @property
    def payload_packets(self) -> int | None:
        """How many packets this client reads in one payload. None: any number."""
        agent = self.headers.get("user-agent", "").lower()
        return _PYTHON_PAYLOAD_PACKETS if "python" in agent or "aiohttp" in agent else None

    def handshake(self) -> Handshake:
        """What the application is told about the request."""
        host, port = self.client or ("", 0)
        return Handshake(
            method=self.method,
            path=self.path,
            query=self.query,
            headers=[_header(name, value) for name, value in self.raw_headers],
            remote_addr=host,
            remote_port=port,
            scheme=self.scheme,
            http_version=self.http_version,
        )


def check(request: Request, transports: Iterable[str], current: str | None, *, upgrade: bool) -> Refusal | None:
    """None: the request may go on. Checks in the order in which Socket.IO's server checks.

    `current` is the transport of the session that the request's `sid` names, None where there is no such session.
    """
    transport = request.fields.get("transport", "")
    if transport not in transports or (upgrade and transport != "websocket"):
        return UNKNOWN_TRANSPORT
    if request.fields.get("sid"):
        if current is None:
            return UNKNOWN_SID
        if not upgrade and (current != transport or transport == "websocket"):
            return BAD_REQUEST
    elif request.method != "GET":
        return BAD_METHOD
    elif transport == "websocket" and not upgrade:
        return BAD_REQUEST
    if request.fields.get("EIO") != "4":
        return UNSUPPORTED_VERSION
    return None


def _header(name: bytes, value: bytes) -> tuple[str, str]:
    """A header as it is kept while the connection lives. Names and values that many clients send are shared."""
    if len(value) <= _SHORT_BYTES and name in _SHARED:
        return _shared_header(name, value)
    return name.decode("latin-1").lower(), value.decode("latin-1")


@functools.lru_cache(maxsize=4096)
def _shared_header(name: bytes, value: bytes) -> tuple[str, str]:
    return name.decode("latin-1"), value.decode("latin-1")


def _fields(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        return {}
