"""Carries out what other programs ask, on the server object."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import assert_never

from app_node.bridge.requests import (
    CloseRoom,
    DisconnectClients,
    EmitEvent,
    EnterRooms,
    LeaveRooms,
    Refused,
    Request,
    Selection,
    ServerEvent,
)
from app_node.downlink.landing import landing_as_one
from app_node.interface.rooms import shared_room, single_sid
from app_node.interface.server import ClusterServer
from sio_cluster.protocol.errors import NodesTooOld
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.selections import MOST_ROOMS


async def deliver(sio: ClusterServer, request: Request) -> None:
    """Returns when it is queued for Redis, in the order of calls. What is for all who match is in Redis then.

    Raises Refused.
    """
    try:
        await _deliver(sio, request)
    except KeyError as error:
        raise Refused("client_gone", f"no such client: {error}") from error
    except NodesTooOld as error:
        raise Refused("nodes_too_old", str(error)) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused("unsendable", str(error) or type(error).__name__) from error


async def _deliver(sio: ClusterServer, request: Request) -> None:
    match request:
        case EmitEvent(namespace, event, arguments, rooms, except_rooms):
            await sio.emit(
                event,
                arguments,
                room=rooms,
                skip_sid=request.skip_sids,
                namespace=namespace,
                except_room=except_rooms,
                volatile=request.volatile,
            )
        case EnterRooms(selection, rooms):
            await _enter(sio, selection, _checked(rooms, "enter"))
        case LeaveRooms(selection, rooms):
            await _leave(sio, selection, _checked(rooms, "leave"))
        case DisconnectClients(selection, close):
            await _disconnect(sio, selection, close=close)
        case CloseRoom(namespace, room):
            await sio.close_room(room, namespace=namespace)
        case ServerEvent(namespace, event, arguments):
            if namespace != "/":
                raise Refused("server_event", f"serverSideEmit in {namespace}: `on_server` knows no namespaces")
            await sio.emit_server(event, *arguments)
        case _:
            assert_never(request)


async def _enter(sio: ClusterServer, selection: Selection, rooms: Sequence[Room]) -> None:
    to, except_rooms, namespace = selection.rooms, selection.except_rooms, selection.namespace
    if (sid := _only_sid(selection)) is not None:
        for room in rooms:
            await sio.enter_room(sid, room, namespace=namespace)
        return
    async with _landed():
        for portion in _portions(selection, rooms):
            await sio.enter_rooms(portion, room=to, except_room=except_rooms, namespace=namespace)


async def _leave(sio: ClusterServer, selection: Selection, rooms: Sequence[Room]) -> None:
    to, except_rooms, namespace = selection.rooms, selection.except_rooms, selection.namespace
    if (sid := _only_sid(selection)) is not None:
        for room in rooms:
            await sio.leave_room(sid, room, namespace=namespace)
        return
    closed = set() if except_rooms else set(rooms if to is None else to)
    async with _landed():
        for portion in _portions(selection, [room for room in rooms if room not in closed]):
            await sio.leave_rooms(portion, room=to, except_room=except_rooms, namespace=namespace)
    for room in rooms:
        if room in closed:  # all who are in it leave it; and unlike `leave_rooms`, this may be repeated at any time
            await sio.close_room(room, namespace=namespace)


async def _disconnect(sio: ClusterServer, selection: Selection, *, close: bool) -> None:
    to, except_rooms, namespace = selection.rooms, selection.except_rooms, selection.namespace
    if (sid := _only_sid(selection)) is None:
        async with _landed():
            await sio.disconnect_room(to, close=close, except_room=except_rooms, namespace=namespace)
    elif close:
        await sio.close_connection(sid, namespace=namespace)
    else:
        await sio.disconnect(sid, namespace=namespace)


@asynccontextmanager
async def _landed() -> AsyncIterator[None]:
    """What is said inside is in Redis in the end.

    The next message may change who matches. If this bridge died then, and another one did this again, it would not find
    those whose io-nodes were not told.
    """
    with landing_as_one() as landing:
        yield
    await landing.landed()


def _only_sid(selection: Selection) -> str | None:
    """The sid, where one client is meant: that needs no look at the room index. None where there may be several."""
    return None if selection.except_rooms else single_sid(selection.rooms)


def _checked(rooms: Sequence[Room], what: str) -> list[Room]:
    """Each room once. Raises ValueError for a sid, before anything is done."""
    return list(dict.fromkeys(shared_room(room, what) for room in rooms))


def _portions(selection: Selection, rooms: Sequence[Room]) -> list[list[Room]]:
    """At most MOST_ROOMS each, which are changed in one step.

    Those that the selection names are in the last ones: who has entered or left one of them may not match any more.
    Raises Refused where more are excepted than one step takes.
    """
    if len(set(rooms).intersection(selection.except_rooms)) > MOST_ROOMS:
        raise Refused("unsendable", f"more than {MOST_ROOMS} of the rooms are excepted too")
    named = {*(selection.rooms or ()), *selection.except_rooms}
    ordered = sorted(rooms, key=lambda room: room in named)
    first = len(ordered) % MOST_ROOMS or MOST_ROOMS
    return [ordered[max(0, end - MOST_ROOMS) : end] for end in range(first, len(ordered) + 1, MOST_ROOMS)]
