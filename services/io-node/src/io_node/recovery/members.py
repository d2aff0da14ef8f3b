"""The clients of this node's own home, wherever they are connected: the rooms in which they are."""

from collections.abc import Iterator

from io_node.socketio.hub import Hub
from sio_cluster.protocol.messages import Room


class HomeMembers:
    """`bus.interest.Members`: those that are here, and those that are absent."""

    def __init__(self, hub: Hub, touched: set[Room]) -> None:
        """`touched`: that of the hub, and of its absent clients."""
        self._hub = hub
        self._touched = touched

    @property
    def knows_all_rooms(self) -> bool:
        return self._hub.absent.knows_all_rooms

    def all_rooms(self) -> Iterator[Room]:
        yield from self._hub.rooms()
        yield from self._hub.absent.rooms()

    def is_empty(self, room: Room) -> bool:
        return self._hub.is_empty(room) and self._hub.absent.is_empty(room)

    def take_touched(self) -> set[Room]:
        touched = set(self._touched)
        self._touched.clear()
        return touched
