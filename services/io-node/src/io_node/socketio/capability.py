"""Which clients can claim their session back, and what a CONNECT says about that. Pure.

A client that can use recovery (socket.io-client for JavaScript from 4.6 on) keeps the pid of its CONNECT, and takes the
last argument of each event for its offset. Any other client would hand the offset to its handlers: an argument that
they do not expect. So who gets offsets is decided by an allow-list, from what stock clients send when they open a
connection:

    client                                              User-Agent                     Sec-WebSocket-Extensions
    JavaScript in a browser, both transports            Mozilla/...                    not looked at
    JavaScript in Node.js 20, polling                   node-XMLHttpRequest            none
    JavaScript in Node.js 20, polling by `Fetch`        node                           none
    JavaScript in Node.js 20, WebSocket                 none                           permessage-deflate; client_max...
    bare WebSocket of Node.js (`ws`)                    none                           permessage-deflate; client_max...
    JavaScript in Bun, Deno                             Bun/..., Deno/...              not looked at
    python-socketio 5.18, Client, polling               python-requests/2.34.2         none
    python-socketio 5.18, Client, WebSocket             none                           none
    python-socketio 5.18, AsyncClient, both transports  Python/3.11 aiohttp/3.14.5     none

Over WebSocket alone, nothing tells the JavaScript client in Node.js from any other program there, such as Socket.IO's
own protocol suite, which takes an offset for a fault. The same holds for `Fetch`. So these get plain events too, as
everybody else does, unless RECOVERY_CLIENTS says otherwise. A client may say better: `?recovery=1` or `?recovery=0` in
the URL (`true` and `false` too), or `{"recovery": true}` in the auth of a CONNECT, which counts more than the URL. A
CONNECT with a pid comes from a client that knows what to do with it.

What cannot be told apart: a JavaScript client older than 4.6, and other clients that run in a browser. They say
`recovery=0`.
"""

import json
import re
from typing import Any, Literal, NamedTuple, TypeAlias
from urllib.parse import parse_qs

import msgspec

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Handshake
from sio_cluster.protocol.recovery import Pid, parse_pid

Trusted: TypeAlias = Literal["known", "all", "asking"]
"""RECOVERY_CLIENTS: who gets offsets without saying anything."""

_TRACES = (b'"pid"', b'"recovery"', rb"\u00")
"""One of these is in the JSON of each object that has one of the names. An escape may stand for a letter of it."""
_AGENTS = re.compile(r"Mozilla/|Bun/|Deno/|node-XMLHttpRequest$")
_WISHES = {"1": True, "true": True, "0": False, "false": False}
_LONGEST_PID = 200
"""In JSON. A longer one is none."""

RECOVERABLE = frozenset(
    (
        reasons.CLIENT_DISCONNECT,  # Engine.IO's CLOSE; one that leaves its namespace says DISCONNECT before
        reasons.TRANSPORT_CLOSE,
        reasons.TRANSPORT_ERROR,
        reasons.PING_TIMEOUT,
        reasons.SLOW_CONSUMER,
        reasons.NODE_DRAINED,
        reasons.NODE_LOST,
    )
)
"""Why a connection may end, and its clients still claim their sessions back: nobody wanted their end."""

_as_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Asked(NamedTuple):
    """What the auth of a CONNECT says. `auth` is what is left of it for the application, None where nothing is.

    `shows_pid`: whether it has a pid. `pid`: what that says, None where it cannot be one of this cluster. `secret_pid`:
    as it was shown. `offset`: of any type. `wish`: whether the client says itself that it can use recovery.
    """

    auth: bytes | None
    shows_pid: bool = False
    pid: Pid | None = None
    secret_pid: str = ""
    offset: object = None
    wish: bool | None = None


def read_auth(auth: bytes | None) -> Asked:
    """What the auth of a CONNECT says of recovery. `auth` is JSON.

    `pid` and `offset` are taken out of it where `pid` is text. They are Socket.IO's own, and the pid is a secret.
    """
    if auth is None or not any(trace in auth for trace in _TRACES):
        return Asked(auth)
    fields = _fields(auth)
    wish = fields.get("recovery")
    wish = wish if isinstance(wish, bool) else None
    if "pid" not in fields:
        return Asked(auth, wish=wish)
    shown = fields["pid"]
    if not isinstance(shown, str):
        return Asked(auth, shows_pid=True, wish=wish)
    pid = parse_pid(shown)
    secret = shown if pid is not None else ""
    return Asked(_without_pid(auth), True, pid, secret, fields.get("offset"), wish)


def can_use_offsets(handshake: Handshake, asked: Asked, clients: Trusted = "known") -> bool:
    """Whether a client gets a pid, and offsets with its events. `clients` is RECOVERY_CLIENTS."""
    if asked.wish is not None:
        return asked.wish
    if "recovery" in handshake.query:
        wish = _WISHES.get(parse_qs(handshake.query).get("recovery", [""])[0])
        if wish is not None:
            return wish
    if asked.pid is not None or clients == "all":
        return True
    return clients == "known" and any(
        name == "user-agent" and _AGENTS.match(value) for name, value in handshake.headers
    )


def _fields(auth: bytes) -> dict[str, Any]:
    """The fields that count here. A text that is too long for a pid or an offset is not decoded, and empty."""
    try:
        raw = _as_raw_object(auth)
    except msgspec.DecodeError:
        return _loaded(auth)
    return {name: _decoded(raw[name]) for name in ("pid", "offset", "recovery") if name in raw}


def _loaded(auth: bytes) -> dict[str, Any]:
    """Of JSON that is no object, or that only Python's own module reads: half of a surrogate pair is in it."""
    value = json.loads(auth)
    return value if isinstance(value, dict) else {}


def _decoded(raw: msgspec.Raw) -> Any:
    encoded = bytes(raw)
    if len(encoded) > _LONGEST_PID:
        return "" if encoded.startswith(b'"') else None
    try:
        return msgspec.json.decode(encoded)
    except msgspec.DecodeError:
        return json.loads(encoded)


def _without_pid(auth: bytes) -> bytes | None:
    fields: dict[str, Any]
    try:
        fields = dict(_as_raw_object(auth))
        is_raw = True
    except msgspec.DecodeError:
        fields = json.loads(auth)
        is_raw = False
    fields.pop("pid", None)
    fields.pop("offset", None)
    if not fields:
        return None
    return msgspec.json.encode(fields) if is_raw else json.dumps(fields, separators=(",", ":")).encode()
