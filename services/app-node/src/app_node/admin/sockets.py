"""A client as the page wants it: what Socket.IO's own server calls a serialized socket. Secrets are left out."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from sio_cluster.protocol.messages import Handshake
from sio_cluster.streams.api.records import ClientRecord

HIDDEN = "(hidden)"
_SECRET = re.compile(
    r"cookie|auth|token|secret|session|passw|credential|signature|api[-_]?key|^(sid|pid|key|jwt|code)$"
)
"""Names of headers and of parts of the query whose values may let somebody in."""
_MOST_VALUES = 50
_MOST_CHARACTERS = 500


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
        "rooms": [connected.sid, *sorted(record.rooms, key=str)],
    }


def timestamp(seconds: float) -> str:
    """Seconds since 1970, as JavaScript writes a time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _handshake(handshake: Handshake, connected_at: float) -> dict[str, Any]:
    headers = handshake.headers[:_MOST_VALUES]
    query = parse_qsl(handshake.query, keep_blank_values=True, encoding="utf-8", errors="replace")
    return {
        "address": handshake.remote_addr,
        "headers": {name: _shown(name, value.encode("latin-1").decode("utf-8", "replace")) for name, value in headers},
        "query": {name: _shown(name, value) for name, value in query[:_MOST_VALUES]},
        "issued": int(connected_at * 1000),
        "secure": handshake.scheme in ("https", "wss"),
        "time": timestamp(connected_at),
        "url": unquote(handshake.path)[:_MOST_CHARACTERS],
        "xdomain": any(name == "origin" for name, _ in headers),
    }


def _shown(name: str, value: str) -> str:
    return HIDDEN if _SECRET.search(name.lower()) else value[:_MOST_CHARACTERS]
