"""`@socket.io/redis-emitter` 5 for Node.js, and what speaks as it does (the same in Go, Java, Rust, PHP).

MessagePack on `KEY#NAMESPACE#` or `KEY#NAMESPACE#ROOM#`:  [uid, {type, data, nsp}, {rooms, flags, except}]
JSON on `KEY-request#NAMESPACE#`:                          {"type": 2, "opts": {"rooms", "except"}, "rooms": [...]}
"""

from typing import Any

import msgspec

from app_node.bridge.formats.checks import checked, from_json, from_msgpack
from app_node.bridge.formats.packets import Options, Packet, event_of, named, selection_of
from app_node.bridge.requests import DisconnectClients, EnterRooms, LeaveRooms, Refused, Request, ServerEvent
from sio_cluster.protocol.messages import Room

QUERIES = (0, 1, 5, 7)
"""Questions of servers with the Redis adapter: SOCKETS, ALL_ROOMS, REMOTE_FETCH, BROADCAST."""


class _Request(msgspec.Struct):
    type: int
    opts: Options = msgspec.field(default_factory=Options)
    rooms: list[Room] = msgspec.field(default_factory=list)
    close: bool = False
    data: list[Any] = msgspec.field(default_factory=list)
    request_id: str | None = msgspec.field(default=None, name="requestId")


def channels_of(key: str) -> tuple[str, str]:
    """How the names of its channels begin: of those for clients, and of those for servers."""
    return f"{key}#", f"{key}-request#"


def requests_of(key: str, channel: str, data: bytes) -> Request | None:
    """What one message asks for. Raises Refused."""
    to_clients, to_servers = channels_of(key)
    if channel.startswith(to_clients):
        return _event(data)
    return _request(channel.removeprefix(to_servers).removesuffix("#"), data)


def _event(data: bytes) -> Request:
    message = from_json(data) if data[:1] == b"[" else from_msgpack(data)  # the emitter's option `parser`
    if not isinstance(message, list) or not 2 <= len(message) <= 4:
        raise Refused("malformed", "it is no list of a name, a packet and options")
    options = checked(message[2], Options) if len(message) > 2 and message[2] is not None else Options()
    return event_of(checked(message[1], Packet), options)


def _request(namespace: str, data: bytes) -> Request:
    request = checked(from_json(data), _Request)
    selection = selection_of(namespace, request.opts)
    match request.type:
        case 2:
            return EnterRooms(selection, request.rooms)
        case 3:
            return LeaveRooms(selection, request.rooms)
        case 4:
            return DisconnectClients(selection, request.close)
        case 6:
            if request.request_id is not None:
                raise Refused("callback", "a server asks servers for answers: a bridge cannot give them")
            return ServerEvent(selection.namespace, *named(request.data))
    if request.type in QUERIES:
        raise Refused("query", "a server asks other servers: a bridge is none")
    raise Refused("malformed", f"unknown type {request.type}")
