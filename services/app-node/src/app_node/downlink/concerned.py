"""Whom the commands of one inbox entry concern: what Redis is told of their rooms, see `streams.api.interest`."""

from collections.abc import Iterable
from typing import NamedTuple

from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import Ack, CloseRoom, Command, Emit, Join, JoinMany, Room
from sio_cluster.streams.api.interest import MOST_ROOMS


class Concerned(NamedTuple):
    """`only_for` and `lets_into` of an `Append`."""

    only_for: set[Room] | None
    lets_into: set[Room]


def concerned(home: str, commands: Iterable[Command]) -> Concerned:
    """Whom these commands for the inbox of this home concern.

    A question concerns the home in any case: it says who is asked, also where that is nobody. So does what is said to a
    client of this home by its sid. A sid of another home is a room like others here.
    """
    only_for: set[Room] | None = set()
    lets_into: set[Room] = set()
    for command in commands:
        kind = type(command)
        if kind is Ack:
            only_for = None
        elif isinstance(command, Emit):
            if only_for is not None:
                only_for = _with_rooms_of(command, home, only_for)
        elif isinstance(command, CloseRoom):
            if only_for is not None:
                only_for.add(command.room)
        else:
            only_for = None
            if isinstance(command, Join):
                lets_into.add(command.room)
            elif isinstance(command, JoinMany):
                lets_into.update(command.rooms)
    if only_for is not None and len(only_for) > MOST_ROOMS:
        only_for = None
    return Concerned(only_for, lets_into)


def _with_rooms_of(emit: Emit, home: str, rooms: set[Room]) -> set[Room] | None:
    """Adds the rooms to which this goes. None where it concerns the home in any case."""
    if emit.to is None or emit.ack is not None:
        return None
    for room in emit.to:
        if isinstance(room, str) and node_of(room) == home:
            return None
        rooms.add(room)
    return rooms
