"""`@socket.io/redis-streams-emitter` 0.1 for Node.js, and servers with `@socket.io/redis-streams-adapter`.

Each entry of the stream has the fields `uid`, `nsp`, `type` and `data`. `data` is JSON, or MessagePack in base64 where
it holds binary values. `type` is a number of `MessageType` of the package socket.io-adapter.

Servers with the adapter 0.3 write `serverSideEmit`, and what asks for answers, in MessagePack on a channel: the map
{uid, nsp, type, data} on `PREFIX#NAMESPACE#`, and answers on `PREFIX#NAMESPACE#UID#`.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app_node.bridge.formats.checks import checked, from_json, from_msgpack
from app_node.bridge.formats.packets import Options, Packet, event_of, named, selection_of
from app_node.bridge.requests import DisconnectClients, EnterRooms, LeaveRooms, Refused, Request, ServerEvent
from sio_cluster.protocol.messages import Room

_HOUSEKEEPING = ("1", "2", "13")
"""INITIAL_HEARTBEAT, HEARTBEAT, ADAPTER_CLOSE."""
_QUERIES = ("7", "8", "10", "11", "12")
"""FETCH_SOCKETS and its response, SERVER_SIDE_EMIT_RESPONSE, BROADCAST_CLIENT_COUNT, BROADCAST_ACK."""
_DEMANDS = ("3", "4", "5", "6", "9")
"""BROADCAST, SOCKETS_JOIN, SOCKETS_LEAVE, DISCONNECT_SOCKETS, SERVER_SIDE_EMIT."""


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


class _InChannel(msgspec.Struct):
    type: int
    namespace: str = msgspec.field(default="/", name="nsp")
    data: Any = None


def requests_of(fields: Mapping[bytes, bytes]) -> Request | None:
    """What one entry asks for. None: it is nothing to us. Raises Refused."""
    kind = fields.get(b"type", b"").decode(errors="replace")
    namespace = fields.get(b"nsp", b"/").decode(errors="replace")
    return _request(kind, namespace, lambda: _data(fields.get(b"data", b"")))


def is_in_channel(message: bytes) -> bool:
    """Whether this adapter has written a message of a channel: a map in MessagePack. The emitters write lists."""
    return message[:1] != b"" and (0x80 <= message[0] <= 0x8F or message[0] in (0xDE, 0xDF))


def request_in_channel(message: bytes) -> Request | None:
    """As `requests_of`, for what a server with the adapter 0.3 says on a channel."""
    said = checked(from_msgpack(message), _InChannel)
    return _request(str(said.type), said.namespace, lambda: said.data)


def _request(kind: str, namespace: str, read: Callable[[], Any]) -> Request | None:
    if kind in _HOUSEKEEPING:
        return None
    if kind in _QUERIES:
        raise Refused("query", "a server asks other servers: a bridge is none")
    if kind not in _DEMANDS:
        raise Refused("malformed", f"unknown type {kind!r:.50}")
    data = read()
    match kind:
        case "3":
            broadcast = checked(data, _Broadcast)
            if broadcast.request_id is not None:
                raise Refused("callback", "a server asks for answers: a bridge cannot give them")
            return event_of(broadcast.packet, broadcast.opts)
        case "4":
            sockets = checked(data, _Sockets)
            return EnterRooms(selection_of(namespace, sockets.opts), sockets.rooms)
        case "5":
            sockets = checked(data, _Sockets)
            return LeaveRooms(selection_of(namespace, sockets.opts), sockets.rooms)
        case "6":
            sockets = checked(data, _Sockets)
            return DisconnectClients(selection_of(namespace, sockets.opts), sockets.close)
        case _:
            event = checked(data, _ServerEvent)
            if event.request_id is not None:
                raise Refused("callback", "a server asks servers for answers: a bridge cannot give them")
            return ServerEvent(namespace, *named(event.packet))


def _data(data: bytes) -> Any:
    if data[:1] == b"{":
        return from_json(data)
    try:
        return from_msgpack(base64.b64decode(data, validate=True))
    except binascii.Error as error:
        raise Refused("malformed", f"its data are neither JSON nor base64: {error}") from error
