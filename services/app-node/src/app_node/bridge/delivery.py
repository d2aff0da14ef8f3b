"""Carries out what other programs ask, on the server object."""

from typing import Any, assert_never

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
from app_node.interface.server import ClusterServer
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import Room


async def deliver(sio: ClusterServer, request: Request) -> None:
    """Returns when it is queued for Redis, in the order of calls. Raises Refused."""
    try:
        await _deliver(sio, request)
    except KeyError as error:
        raise Refused("client_gone", f"no such client: {error}") from error
    except (TypeError, ValueError, RecursionError) as error:
        raise Refused("unsendable", str(error) or type(error).__name__) from error


async def _deliver(sio: ClusterServer, request: Request) -> None:
    match request:
        case EmitEvent(namespace, event, arguments, rooms, except_rooms):
            skip = [_sid(room, "except_room") for room in except_rooms]
            await sio.emit(event, arguments, room=rooms, skip_sid=skip, namespace=namespace)
        case EnterRooms(selection, rooms):
            for sid in _sids(selection):
                for room in rooms:
                    await sio.enter_room(sid, room, namespace=selection.namespace)
        case LeaveRooms(selection, rooms):
            for sid in _sids(selection):
                for room in rooms:
                    await sio.leave_room(sid, room, namespace=selection.namespace)
        case DisconnectClients(selection, close):
            end: Any = sio.close_connection if close else sio.disconnect
            for sid in _sids(selection):
                await end(sid, namespace=selection.namespace)
        case CloseRoom(namespace, room):
            await sio.close_room(room, namespace=namespace)
        case ServerEvent(_, event, _):
            raise Refused("server_event", f"serverSideEmit {event!r}: a bridge cannot pass on what is for servers")
        case _:
            assert_never(request)


def _sids(selection: Selection) -> list[str]:
    """The sids, where the clients are named by them. Raises Refused where they would have to be looked up."""
    if selection.rooms is None or selection.except_rooms:
        raise Refused("selection", "only clients that are named by their sid can be chosen")
    return [_sid(room, "selection") for room in selection.rooms]


def _sid(room: Room, what: Any) -> str:
    if isinstance(room, str) and node_of(room) is not None:
        return room
    raise Refused(what, f"{room!r} is no sid: a bridge cannot look up who is in a room")
