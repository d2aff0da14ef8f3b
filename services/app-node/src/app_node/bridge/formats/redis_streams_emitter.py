"""`@socket.io/redis-streams-emitter` 0.1 for Node.js, and servers with `@socket.io/redis-streams-adapter`.

Each entry of the stream has the fields `uid`, `nsp`, `type` and `data`. `data` is JSON, or MessagePack in base64 where
it holds binary values. `type` is a number of `MessageType` of the package socket.io-adapter.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from app_node.bridge.formats.checks import checked, from_json, from_msgpack
from app_node.bridge.formats.packets import Options, Packet, event_of, named, selection_of
from app_node.bridge.requests import DisconnectClients, EnterRooms, LeaveRooms, Refused, Request, ServerEvent
from sio_cluster.protocol.messages import Room

_HOUSEKEEPING = (b"1", b"2", b"13")
"""INITIAL_HEARTBEAT, HEARTBEAT, ADAPTER_CLOSE."""
_QUERIES = (b"7", b"8", b"10", b"11", b"12")
"""FETCH_SOCKETS and its response, SERVER_SIDE_EMIT_RESPONSE, BROADCAST_CLIENT_COUNT, BROADCAST_ACK."""


class _Broadcast(msgspec.Struct):
    packet: Packet
    opts: Options = msgspec.field(default_factory=Options)
    request_id: str | None = msgspec.field(default=None, name="requestId")


class _Sockets(msgspec.Struct):
    opts: Options = msgspec.field(default_factory=Options)
    rooms: list[Room] = msgspec.field(default_factory=list)
    close: bool = False


class _ServerEvent(msgspec.Struct):
    packet: list[Any]
    request_id: str | None = msgspec.field(default=None, name="requestId")


def requests_of(fields: Mapping[bytes, bytes]) -> Request | None:
    """What one entry asks for. None: it is nothing to us. Raises Refused."""
    kind = fields.get(b"type", b"")
    if kind in _HOUSEKEEPING:
        return None
    if kind in _QUERIES:
        raise Refused("query", "a server asks other servers: a bridge is none")
    namespace = fields.get(b"nsp", b"/").decode(errors="replace")
    data = _data(fields.get(b"data", b""))
    match kind:
        case b"3":
            broadcast = checked(data, _Broadcast)
            if broadcast.request_id is not None:
                raise Refused("callback", "a server asks for answers: a bridge cannot give them")
            return event_of(broadcast.packet, broadcast.opts)
        case b"4":
            sockets = checked(data, _Sockets)
            return EnterRooms(selection_of(namespace, sockets.opts), sockets.rooms)
        case b"5":
            sockets = checked(data, _Sockets)
            return LeaveRooms(selection_of(namespace, sockets.opts), sockets.rooms)
        case b"6":
            sockets = checked(data, _Sockets)
            return DisconnectClients(selection_of(namespace, sockets.opts), sockets.close)
        case b"9":
            event = checked(data, _ServerEvent)
            if event.request_id is not None:
                raise Refused("callback", "a server asks servers for answers: a bridge cannot give them")
            return ServerEvent(namespace, *named(event.packet))
    raise Refused("malformed", f"unknown type {kind!r:.50}")


def _data(data: bytes) -> Any:
    if data[:1] == b"{":
        return from_json(data)
    try:
        return from_msgpack(base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise Refused("malformed", f"its data are neither JSON nor base64: {error}") from error
