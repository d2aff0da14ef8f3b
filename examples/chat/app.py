"""The chat: handlers as in python-socketio, and what only a cluster has: who is in a room, exactly, whatever dies.

    app-node examples/chat/app.py:sio

You can stop it, kill it, replace it, or run it several times at once, and people go on chatting. That works because it
keeps nothing in memory:

- A client's name and rooms are in its session, which is kept in Redis.
- Who is in a room is in Redis too (`sio.presence`). The cluster tells each page who is there, who comes and who goes.
  Nobody has to be taken out: this application has no handler for `disconnect`.
- After a crash an event may be handled twice. So each message carries an id, and a page shows each id once.
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

# Handles one event of a client at a time, so that everybody reads a person's messages in the order of writing.
sio = app_node.get_client(async_handlers=False)

APP_NODE = f"{os.environ.get('NODE_NAME') or gethostname()}-{secrets.token_hex(3)}"  # another one each time it starts
MAX_IMAGE_BYTES = 700_000
MAX_ROOMS = 20
IMAGE_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}

Answer = dict[str, Any]
RoomName = Annotated[str, Meta(pattern=r"\A[\w-]{1,32}\Z")]
State = Literal["here", "away"]
Sid = Annotated[str, Meta(pattern=r"\A[\w.-]{1,80}\Z")]
MessageId = Annotated[str, Meta(pattern=r"\A[\w-]{8,40}\Z")]
Pixels = Annotated[int, Meta(ge=0, le=20_000)]


class Person(Struct):
    name: Annotated[str, Meta(pattern=r"\A(?=.*\S)[^\x00-\x1f\x7f]{1,32}\Z")]


class Arrival(Struct):
    room: RoomName
    state: State = "here"


class Look(Struct):
    state: State


class Typing(Struct):
    room: RoomName
    typing: bool


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
    """The client asked for something that it may not do. It gets the text as the answer to its event."""


def takes(kind: type[Kind]) -> Callable[[Callable[[str, Kind], Awaitable[Answer | None]]], Any]:
    """Turns the event's argument into a `kind` for the handler. If that fails, the client is answered with an error."""

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
async def connect(
    sid: str, environ: dict[str, Any], auth: Any, is_reconnect: bool = False, is_recovered: bool = False
) -> None:
    if is_reconnect:  # this client was connected already, and another app-node served it until now
        await sio.emit("restarted", {"app_node": APP_NODE}, to=sid)
    if is_reconnect or is_recovered:  # its session and its rooms are there
        return
    try:
        name = " ".join(convert(auth, Person).name.split())
    except ValidationError:
        raise ConnectionRefusedError("A name has 1 to 32 characters", {"field": "name"}) from None
    await sio.save_session(sid, {"name": name, "rooms": []})


@sio.event
@takes(Arrival)
async def join(sid: str, data: Arrival) -> Answer:
    """Lets a client into a room, where the others see it come. It sees who is there. Once more does no harm."""
    async with sio.session(sid) as session:
        rooms = {*session["rooms"], data.room}
        if len(rooms) > MAX_ROOMS:
            raise Rejected(f"You can be in {MAX_ROOMS} rooms at most")
        session["rooms"] = sorted(rooms)
    await sio.enter_room(sid, audience(data.room))
    people = sio.presence(audience(data.room))
    await people.track(sid, session["name"], {"state": data.state})  # all windows of a name are one person
    await people.send_state(sid)
    return {"app_node": APP_NODE}


@sio.event
@takes(Look)
async def look(sid: str, data: Look) -> None:
    """Somebody looks at the page, or looks away."""
    session = await sio.get_session(sid)
    for room in session.get("rooms", []):
        await sio.presence(audience(room)).track(sid, session["name"], {"state": data.state})


@sio.event
@takes(Typing)
async def typing(sid: str, data: Typing) -> None:
    name = await name_in_room(sid, data.room)
    await sio.emit(
        "typing", {"room": data.room, "name": name, "typing": data.typing}, room=audience(data.room), skip_sid=sid
    )


@sio.event
@takes(Message)
async def message(sid: str, data: Message) -> Answer:
    """Sends a message to the room. The answer is the sender's first tick: the message is on its way to everybody."""
    name = await name_in_room(sid, data.room)
    at = int(time.time() * 1000)
    news = {"id": data.id, "room": data.room, "sid": sid, "name": name, "text": data.text, "at": at}
    if data.image is not None:
        news |= {"image": data.image, "mime": mime_of(data.image), "width": data.width, "height": data.height}
    elif not data.text.strip():
        raise Rejected("The message is empty")
    await sio.emit("message", news, room=audience(data.room), skip_sid=sid)
    return {"at": at, "app_node": APP_NODE}


@sio.event
@takes(Receipt)
async def received(sid: str, data: Receipt) -> None:
    """A client has got a message, and its author is told: that is the second tick."""
    await sio.emit("delivered", {"id": data.id, "by": sid}, to=data.to)


@sio.event
async def pulse(sid: str, *_: Any) -> Answer:
    """The page sends this every two seconds. It measures the round trip and learns which app-node answers."""
    return {"app_node": APP_NODE}


@sio.event
async def count(sid: str, *_: Any) -> Answer:
    """How many clients are connected, to all io-nodes together: exactly, and whoever asks is one of them."""
    return {"clients": await sio.count()}


def audience(room: str) -> str:
    """The Socket.IO room of a chat room. Each sid is a room too, so a prefix keeps chat rooms apart from those."""
    return f"room:{room}"


async def name_in_room(sid: str, room: str) -> str:
    session = await sio.get_session(sid)
    if room not in session.get("rooms", []):
        raise Rejected("You are not in this room")
    return str(session["name"])


def mime_of(image: bytes) -> str:
    """The type of an image by its first bytes; what the sender says about it does not count."""
    if len(image) > MAX_IMAGE_BYTES:
        raise Rejected("An image can have 700 KB at most")
    mime = next((mime for beginning, mime in IMAGE_TYPES.items() if image.startswith(beginning)), None)
    if mime is None:
        raise Rejected("Only PNG, JPEG, GIF and WebP images can be sent")
    return mime


if password := os.environ.get("ADMIN_PASSWORD"):  # Socket.IO's Admin UI, on http://localhost:8080/admin-ui/
    sio.instrument(auth={"username": os.environ.get("ADMIN_USER") or "admin", "password": password})

if os.environ.get("LOADTEST") == "1":
    import load_test  # type: ignore[import-not-found]  # app-node puts this folder on the path

    load_test.register(sio)
