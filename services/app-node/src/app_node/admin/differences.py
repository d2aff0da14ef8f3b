"""What has happened to clients between two looks at them, in the page's own events. Pure."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app_node.admin.sockets import timestamp
from sio_cluster.protocol.messages import Room


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page was told of a client, as far as it may change."""

    namespace: str
    transport: str
    rooms: tuple[Room, ...]


def shown(client: Mapping[str, Any]) -> Shown:
    """Of a client as `serialized` makes it."""
    return Shown(client["nsp"], client["transport"], tuple(client["rooms"]))


def changes(
    before: Mapping[str, Shown], now: Mapping[str, Mapping[str, Any]], displaced: Collection[str], now_s: float
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The events and their arguments. `displaced`: those that are no longer in the list, but still there. `now_s`:
    since 1970.

    The page may have heard of any of these changes: it takes them twice, but for a room that is joined, in which it
    would list the client twice. So the client leaves that room before.
    """
    at = timestamp(now_s)
    for sid, old in before.items():
        if sid not in now and sid not in displaced:
            yield "socket_disconnected", (old.namespace, sid, "", at)
    for sid, client in now.items():
        if sid not in before:
            yield "socket_connected", (client, at)
            continue
        old, new = before[sid], shown(client)
        if new.transport != old.transport:
            yield "socket_updated", ({"id": sid, "nsp": new.namespace, "transport": new.transport},)
        for room in new.rooms:
            if room not in old.rooms:
                yield "room_left", (new.namespace, room, sid, at)
                yield "room_joined", (new.namespace, room, sid, at)
        for room in old.rooms:
            if room not in new.rooms:
                yield "room_left", (new.namespace, room, sid, at)
