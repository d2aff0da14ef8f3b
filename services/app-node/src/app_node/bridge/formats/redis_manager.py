"""`socketio.RedisManager` of python-socketio 5.14 and newer, and Flask-SocketIO, which uses it.

JSON on one channel (python-socketio, `pubsub_manager.py`):

    {"method": "emit", "event": "news", "data": [{"n": 1}], "binary": false, "namespace": "/", "room": "a",
     "skip_sid": null, "callback": null, "host_id": "..."}

Binary data: `data` is [data with placeholders, attachment in base64, ...].
"""

import base64
import binascii
import json
from typing import Any

import msgspec

from app_node.bridge.formats.checks import checked, from_json
from app_node.bridge.requests import (
    CloseRoom,
    DisconnectClients,
    EmitEvent,
    EnterRooms,
    LeaveRooms,
    Refused,
    Request,
    Selection,
)
from app_node.payloads import decode
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import Room

_PICKLED = "python-socketio before 5.14 writes pickled messages, which could run any code here: upgrade it"


class _Emit(msgspec.Struct):
    event: str
    data: Any = None
    binary: bool | None = False
    namespace: str | None = None
    room: Room | list[Room] | None = None
    skip_sid: str | list[str] | None = None
    callback: Any = None


class _OfClient(msgspec.Struct):
    sid: str
    room: Room = ""
    namespace: str | None = None


class _OfRoom(msgspec.Struct):
    room: Room
    namespace: str | None = None


def requests_of(data: bytes) -> Request | None:
    """What one message asks for. None: it is nothing to us. Raises Refused."""
    if data[:1] == b"\x80":  # the first byte of a pickle since protocol 2; no JSON begins so
        raise Refused("pickled", _PICKLED)
    message = from_json(data)
    if not isinstance(message, dict):
        raise Refused("malformed", "it is no object")
    match message.get("method"):
        case "emit":
            return _emit(checked(message, _Emit))
        case "enter_room":
            it, selection = _of_client(message)
            return EnterRooms(selection, [_room(it, message)])
        case "leave_room":
            it, selection = _of_client(message)
            return LeaveRooms(selection, [_room(it, message)])
        case "disconnect":
            return DisconnectClients(_of_client(message)[1], close=False)
        case "close_room":
            of_room = checked(message, _OfRoom)
            return CloseRoom(of_room.namespace or "/", of_room.room)
        case "callback":  # one server gives another one an answer
            return None
    raise Refused("malformed", f"unknown method {message.get('method')!r:.100}")


def _emit(message: _Emit) -> EmitEvent:
    if message.callback is not None:
        raise Refused("callback", "nobody can take the answers: write-only managers cannot ask for any")
    rooms = message.room if isinstance(message.room, list) or message.room is None else [message.room]
    skip = message.skip_sid or []
    return EmitEvent(
        message.namespace or "/",
        message.event,
        _arguments(message),
        rooms,  # an empty list is nobody here too: python-socketio's servers fail at it, and nobody gets the event
        [],
        [skip] if isinstance(skip, str) else skip,
    )


def _arguments(message: _Emit) -> tuple[Any, ...]:
    data = message.data
    if message.binary:
        data = _with_attachments(data)
    if data is None or data == [None]:
        return ()
    return tuple(data) if isinstance(data, list) else (data,)


def _with_attachments(data: Any) -> Any:
    if not isinstance(data, list) or len(data) < 2 or not all(isinstance(part, str) for part in data[1:]):
        raise Refused("malformed", "binary data must be a list of the data and its attachments in base64")
    try:
        attachments = [base64.b64decode(part, validate=True) for part in data[1:]]
        return decode(json.dumps([data[0]]).encode(), attachments)[0]
    except (binascii.Error, MalformedPacket, ValueError) as error:
        raise Refused("malformed", f"its attachments cannot be put back: {error}") from error


def _of_client(message: dict[str, Any]) -> tuple[_OfClient, Selection]:
    it = checked(message, _OfClient)
    if node_of(it.sid) is None:  # else it would be taken for a room
        raise Refused("client_gone", f"{it.sid!r:.100} is no sid of this cluster")
    return it, Selection(it.namespace or "/", [it.sid], [])


def _room(it: _OfClient, message: dict[str, Any]) -> Room:
    if "room" not in message:
        raise Refused("malformed", "it names no room")
    return it.room
