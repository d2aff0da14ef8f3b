"""The forms in which python-socketio takes rooms and sids, brought into the one that the bus knows."""

from collections.abc import Collection
from typing import Any, TypeAlias

from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import Room

Rooms: TypeAlias = Room | Collection[Room]
"""What `to` and `room` take: one room (a sid is one), or several."""
Sids: TypeAlias = str | Collection[str]
"""What `skip_sid` takes: one sid, or several."""


def rooms_of(room: Any) -> list[Room] | None:
    """What is given as `to` or `room`: None, one room, or a list, tuple or set of rooms. Raises as `checked_room`."""
    if room is None:
        return None
    if isinstance(room, (list, tuple, set, frozenset)):
        return [checked_room(item) for item in room]
    return [checked_room(room)]


def checked_room(room: Any) -> Room:
    """The same room. Raises TypeError where it is neither str nor int, ValueError where the bus cannot carry it."""
    if isinstance(room, str):
        if not room.isascii():
            room.encode()  # a lone surrogate raises UnicodeEncodeError here, where it is emitted, and not in a batch
        return str(room)
    if isinstance(room, int) and not isinstance(room, bool):
        if not -(1 << 63) <= room < 1 << 63:
            raise ValueError(f"room {room} does not fit into 64 bits")
        return int(room)
    raise TypeError(f"a room is a str or an int, not {type(room).__name__}")


def checked_namespace(namespace: Any) -> str:
    """The same namespace. Raises TypeError where it is no str, ValueError where the bus cannot carry it: as for rooms,
    what is said wrongly must fail here, and not in a batch with what others say."""
    if not isinstance(namespace, str):
        raise TypeError(f"a namespace is a str, not {type(namespace).__name__}")
    namespace.encode()
    return namespace


def shared_room(room: Any, what: str) -> Room:
    """The same room. Raises as `checked_room`, and ValueError for a sid, which is its client's own room.

    `what` is what was tried, for the message: `enter`, `close`.
    """
    checked = checked_room(room)
    if isinstance(checked, str) and node_of(checked) is not None:
        raise ValueError(f"cannot {what} a sid room")
    return checked


def skipped(skip_sid: Any) -> list[str]:
    """What is given as `skip_sid`: None, one sid, or several. Whatever is no sid skips nobody."""
    if skip_sid is None:
        return []
    if isinstance(skip_sid, str):
        return [skip_sid] if skip_sid.isascii() else []
    return [sid for sid in skip_sid if isinstance(sid, str) and sid.isascii()]


def sids_and_rooms(room: Any) -> tuple[list[str], list[Room]]:
    """What is given as `except_room`, as for `rooms_of`: the sids, which are rooms of one client, and the others."""
    rooms = rooms_of(room) or []
    sids = [room for room in rooms if isinstance(room, str) and node_of(room) is not None]
    return sids, [room for room in rooms if not isinstance(room, str) or node_of(room) is None]


def single_sid(recipients: list[Room] | None) -> str | None:
    """The sid, where exactly one client is meant. None where there may be several."""
    if recipients is not None and len(recipients) == 1 and isinstance(recipients[0], str):
        return recipients[0] if node_of(recipients[0]) is not None else None
    return None
