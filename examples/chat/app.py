"""The chat: an ordinary python-socketio application, but for the line that makes `sio`.

    app-node examples/chat/app.py:sio

It may be stopped, killed, replaced or run several times over while people go on chatting, because it keeps nothing in
memory. Who a client is stands in its session, which outlasts app-nodes. Who is in a room, the people in it know: a
newcomer says so, each client there answers, and each disconnect is announced. An event may be handled twice after a
crash (never not at all), so each message carries an id, and the page shows an id once.
"""

import os
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from socket import gethostname
from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, ValidationError, convert
from socketio.exceptions import ConnectionRefusedError

import app_node

# One event of a client at a time: what somebody writes first, everybody reads first.
sio = app_node.get_client(async_handlers=False)

APP_NODE = f"{os.environ.get('NODE_NAME') or gethostname()}-{secrets.token_hex(3)}"  # differs each time it starts
MAX_IMAGE_BYTES = 700_000
MAX_ROOMS = 20
IMAGE_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}

Answer = dict[str, Any]
RoomName = Annotated[str, Meta(pattern=r"\A[\w-]{1,32}\Z")]
Sid = Annotated[str, Meta(pattern=r"\A[\w.-]{1,80}\Z")]
MessageId = Annotated[str, Meta(pattern=r"\A[\w-]{8,40}\Z")]
Pixels = Annotated[int, Meta(ge=0, le=20_000)]


class Person(Struct):
    name: Annotated[str, Meta(pattern=r"\A(?=.*\S)[^\x00-\x1f\x7f]{1,32}\Z")]


class Room(Struct):
    room: RoomName


class Presence(Struct):
    room: RoomName
    state: Literal["here", "away", "typing"] = "here"
    new: bool = False  # the sender has just joined: whoever hears it answers with its own presence
    to: Sid | None = None  # such an answer goes to one client


class Message(Struct):
    id: MessageId
    room: RoomName
    text: Annotated[str, Meta(max_length=2000)] = ""
    image: bytes | None = None
    width: Pixels = 0
    height: Pixels = 0


class Receipt(Struct):
    id: MessageId
    to: Sid


Kind = TypeVar("Kind", bound=Struct)


class Rejected(Exception):
    """What the client asks for cannot be. It gets the text as its answer."""


def takes(kind: type[Kind]) -> Callable[[Callable[[str, Kind], Awaitable[Answer | None]]], Any]:
    """The handler gets its argument as a `kind`; a client that sends anything else is answered with an error."""

    def decorate(handler: Callable[[str, Kind], Awaitable[Answer | None]]) -> Any:
        @wraps(handler)
        async def handle(sid: str, data: Any = None, *_: Any) -> Answer | None:
            try:
                return await handler(sid, convert(data, kind, builtin_types=(bytes,)))
            except (ValidationError, Rejected) as reason:
                return {"error": str(reason)}

        return handle

    return decorate


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: Any, is_reconnect: bool = False) -> None:
    if is_reconnect:  # no new client, but one whose session another app-node began
        await sio.emit("restarted", {"app_node": APP_NODE}, to=sid)
        return
    try:
        name = " ".join(convert(auth, Person).name.split())
    except ValidationError:
        raise ConnectionRefusedError("A name has 1 to 32 characters", {"field": "name"}) from None
    await sio.save_session(sid, {"name": name, "rooms": []})


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    session = await sio.get_session(sid)
    for room in session.get("rooms", []):
        await sio.emit("left", {"room": room, "sid": sid}, room=audience(room))


@sio.event
@takes(Room)
async def join(sid: str, data: Room) -> Answer:
    async with sio.session(sid) as session:
        rooms = {*session["rooms"], data.room}
        if len(rooms) > MAX_ROOMS:
            raise Rejected(f"{MAX_ROOMS} rooms at a time are the most")
        session["rooms"] = sorted(rooms)
    await sio.enter_room(sid, audience(data.room))
    return {"app_node": APP_NODE}


@sio.event
@takes(Presence)
async def presence(sid: str, data: Presence) -> None:
    name = await name_in_room(sid, data.room)
    news = {"room": data.room, "sid": sid, "name": name, "state": data.state, "new": data.new and data.to is None}
    await sio.emit("presence", news, room=data.to or audience(data.room), skip_sid=sid)


@sio.event
@takes(Message)
async def message(sid: str, data: Message) -> Answer:
    """What this returns is the sender's first tick: the message is on its way to everybody in the room."""
    name = await name_in_room(sid, data.room)
    at = int(time.time() * 1000)
    news = {"id": data.id, "room": data.room, "sid": sid, "name": name, "text": data.text, "at": at}
    if data.image is not None:
        news |= {"image": data.image, "mime": mime_of(data.image), "width": data.width, "height": data.height}
    elif not data.text.strip():
        raise Rejected("An empty message")
    await sio.emit("message", news, room=audience(data.room), skip_sid=sid)
    return {"at": at, "app_node": APP_NODE}


@sio.event
@takes(Receipt)
async def received(sid: str, data: Receipt) -> None:
    """A client got a message and tells its author: the second tick."""
    await sio.emit("delivered", {"id": data.id, "by": sid}, to=data.to)


@sio.event
async def pulse(sid: str, *_: Any) -> Answer:
    """The page asks this every two seconds, to measure the round trip and to see who answers."""
    return {"app_node": APP_NODE}


def audience(room: str) -> str:
    """The Socket.IO room of a chat room. Each sid is a room as well: the prefix keeps the two apart."""
    return f"room:{room}"


async def name_in_room(sid: str, room: str) -> str:
    session = await sio.get_session(sid)
    if room not in session.get("rooms", []):
        raise Rejected("You are not in this room")
    return str(session["name"])


def mime_of(image: bytes) -> str:
    """Its type by its first bytes, whatever its sender says that it is."""
    if len(image) > MAX_IMAGE_BYTES:
        raise Rejected("An image has at most 700 KB")
    mime = next((mime for beginning, mime in IMAGE_TYPES.items() if image.startswith(beginning)), None)
    if mime is None:
        raise Rejected("Not a PNG, JPEG, GIF or WebP image")
    return mime


if os.environ.get("LOADTEST") == "1":
    import load_test

    load_test.register(sio)
