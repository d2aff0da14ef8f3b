"""The methods of the server object that concern all clients that match. None of them is in python-socketio."""

from typing import Any

from app_node.interface.rooms import Rooms, checked_namespace, rooms_of, shared_room
from app_node.interface.server_object import ServerObject
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.selections import MOST_ROOMS, Selection


class ForAllWhoMatch:
    """A part of `ClusterServer`. Everywhere, `room` is a room or a sid, or a list of them; None is everybody, an empty
    list is nobody. `except_room` is the same, for those who do not count.

    The records of the clients decide, wherever the clients are. Those who are away match too.
    """

    async def enter_rooms(
        self: ServerObject,
        rooms: Rooms,
        room: Rooms | None = None,
        except_room: Rooms | None = None,
        namespace: str | None = None,
    ) -> None:
        """All clients that match enter `rooms`, one room or a list of at most 100.

        An emit that follows reaches all of them. Each client's record and `rooms` say so when this returns; on other
        app-nodes `rooms` does when their io-nodes have told them.

        Raises TypeError for a room that is neither str nor int. Raises ValueError for a sid among `rooms`, and for more
        than 100 of them. Raises NodesTooOld where a node of the last release is in the cluster.
        """
        await _change_rooms(self, rooms, _selection(room, except_room, namespace), inside=True)

    async def leave_rooms(
        self: ServerObject,
        rooms: Rooms,
        room: Rooms | None = None,
        except_room: Rooms | None = None,
        namespace: str | None = None,
    ) -> None:
        """All clients that match leave `rooms`. As `enter_rooms`."""
        await _change_rooms(self, rooms, _selection(room, except_room, namespace), inside=False)

    async def disconnect_room(
        self: ServerObject,
        room: Rooms | None,
        close: bool = False,
        except_room: Rooms | None = None,
        namespace: str | None = None,
    ) -> None:
        """Disconnects all clients that match, in waves: 1,000 at a time, then a pause of 0.1 s.

        `close`: with all their namespaces, and their connections. Returns when the io-nodes have been told. The
        `disconnect` handlers run when they report it. A client that is away cannot come back any more. Raises TypeError
        and NodesTooOld as `enter_rooms`.
        """
        selection = _selection(room, except_room, namespace)
        await self.node.open()
        await self.node.clients.selections.disconnect(selection, close=close)


async def _change_rooms(server: ServerObject, rooms: Any, selection: Selection, *, inside: bool) -> None:
    changed = _shared_rooms(rooms, "enter" if inside else "leave")
    if changed:
        await server.node.open()
        await server.node.clients.selections.change_rooms(selection, changed, inside=inside)


def _selection(room: Any, except_room: Any, namespace: str | None) -> Selection:
    to = rooms_of(room)
    return Selection(
        checked_namespace(namespace or "/"), None if to is None else tuple(to), tuple(rooms_of(except_room) or ())
    )


def _shared_rooms(rooms: Any, what: str) -> list[Room]:
    if rooms is None:
        raise TypeError(f"say which rooms to {what}")
    checked = [shared_room(room, what) for room in rooms_of(rooms) or ()]
    if len(checked) > MOST_ROOMS:
        raise ValueError(f"{len(checked)} rooms are too many: {what} {MOST_ROOMS} at a time")
    return checked
