"""A client as the page wants it: what Socket.IO's own server calls a serialized socket. Secrets are left out."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, unquote

from sio_cluster.protocol.messages import Handshake
from sio_cluster.streams.api.records import ClientRecord

HIDDEN = "(hidden)"
MOST_ROOMS = 200
"""So many rooms of one client are shown."""
_SECRET = re.compile(
    r"cookie|auth|token|secret|session|passw|credential|signature|jwt|oidc|assertion|ticket|api[-_]?key|[-_]key$"
    r"|^(sid|pid|key|code|otp|pin)$"
)
"""Names of headers and of parts of the query whose values may let somebody in."""
_LINKS = frozenset(("referer", "x-original-url", "x-original-uri", "x-forwarded-uri"))
"""Headers that hold an address, whose query may have secrets."""
_MOST_VALUES = 50
_MOST_CHARACTERS = 500
_MOST_IN_ALL = 2_000
"""Of all headers together, and of the query. A thousand clients are shown in one message, and clients say how long
theirs are."""


def serialized(record: ClientRecord) -> dict[str, Any]:
    """`clientId` names the connection, which several namespaces may share. No secret leads to it."""
    connected = record.connected
    return {
        "id": connected.sid,
        "clientId": connected.connection,
        "transport": record.transport,
        "nsp": connected.namespace,
        "data": {},
        "handshake": _handshake(connected.handshake, record.connected_at or 0.0),
        "rooms": [connected.sid, *sorted(record.rooms, key=str)[:MOST_ROOMS]],
    }


def timestamp(seconds: float) -> str:
    """Seconds since 1970, as JavaScript writes a time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _handshake(handshake: Handshake, connected_at: float) -> dict[str, Any]:
    headers = handshake.headers
    return {
        "address": handshake.remote_addr,
        "headers": _shown((name, value.encode("latin-1").decode("utf-8", "replace")) for name, value in headers),
        "query": _shown(parse_qsl(handshake.query, keep_blank_values=True, encoding="utf-8", errors="replace")),
        "issued": int(connected_at * 1000),
        "secure": handshake.scheme in ("https", "wss"),
        "time": timestamp(connected_at),
        "url": unquote(handshake.path)[:_MOST_CHARACTERS],
        "xdomain": any(name == "origin" for name, _ in headers),
    }


def _shown(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The first ones, without secrets."""
    shown: dict[str, str] = {}
    left = _MOST_IN_ALL
    for name, value in islice(pairs, _MOST_VALUES):
        text = _without_secrets(name.lower(), value)[:_MOST_CHARACTERS]
        left -= len(name) + len(text)
        if left < 0:
            break
        shown[name] = text
    return shown


def _without_secrets(name: str, value: str) -> str:
    if _SECRET.search(name):
        return HIDDEN
    address, question_mark, _ = value.partition("?")
    return f"{address}?{HIDDEN}" if question_mark and name in _LINKS else value
