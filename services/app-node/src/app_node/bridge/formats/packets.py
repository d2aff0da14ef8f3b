"""What both emitters for Node.js have in common."""

from typing import Any

import msgspec

from app_node.bridge.formats.checks import as_namespace
from app_node.bridge.requests import EmitEvent, Refused, Selection
from sio_cluster.protocol.messages import Room

EVENTS = (2, 5)
"""EVENT, and BINARY_EVENT of old releases (Socket.IO protocol v5, "Packet types")."""


class Packet(msgspec.Struct):
    type: int
    data: list[Any]
    nsp: str = "/"


class Options(msgspec.Struct):
    rooms: list[Room] | None = None
    except_rooms: list[Room] | None = msgspec.field(default=None, name="except")
    flags: Any = None  # in PHP, no flags are an empty list


def event_of(packet: Packet, options: Options) -> EmitEvent:
    """Raises Refused."""
    if packet.type not in EVENTS:
        raise Refused("malformed", f"it is no event, but a packet of type {packet.type}")
    name, arguments = named(packet.data)
    volatile = isinstance(options.flags, dict) and options.flags.get("volatile") is True
    rooms, except_rooms = options.rooms or None, options.except_rooms or []
    return EmitEvent(as_namespace(packet.nsp), name, arguments, rooms, except_rooms, volatile=volatile)


def named(data: list[Any]) -> tuple[str, tuple[Any, ...]]:
    """The name of an event, and its arguments. Raises Refused."""
    if not data or not isinstance(data[0], str):
        raise Refused("malformed", "it has no name")
    return data[0], tuple(data[1:])


def selection_of(namespace: str, options: Options) -> Selection:
    """Which clients are meant."""
    return Selection(as_namespace(namespace), options.rooms or None, options.except_rooms or [])
