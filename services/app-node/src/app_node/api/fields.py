"""The types of the fields of requests: what each may hold, for checks and for the API's description (OpenAPI)."""

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app_node.interface.rooms import checked_room, rooms_of
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.socketio import RESERVED_EVENTS
from sio_cluster.streams.api.selections import MOST_ROOMS

MAX_TEXT = 1_000
"""Characters of a name: of an event, a room, a namespace."""
MAX_ROOMS = 10_000
"""Rooms, or sids to skip, of one emit."""
KEY_CHARS = 256
"""Of an idempotency key."""

SID_SCHEMA = {"type": "string", "pattern": r"^[a-z0-9]{1,32}-[a-z2-7]{6}\.[A-Za-z0-9_-]{16}$"}
MOST_ROOM_NUMBER = (1 << 63) - 1024
"""The largest that programs without integers know, too."""
_ROOM_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string", "maxLength": MAX_TEXT},
        {"type": "integer", "minimum": -MOST_ROOM_NUMBER, "maximum": MOST_ROOM_NUMBER},
    ]
}


def refusing(check: Callable[[Any], Any]) -> PlainValidator:
    """A validator that says in one line what `check` raises."""

    def checked(value: Any) -> Any:
        try:
            return check(value)
        except (TypeError, ValueError) as error:
            why = "it has half of a surrogate pair" if isinstance(error, UnicodeError) else str(error)
            raise PydanticCustomError("refused", "{why}", {"why": why}) from None

    return PlainValidator(checked)


def _room(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise ValueError(f"a room has at most {MAX_TEXT} characters")
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 7.0 is the same number in JSON
    return checked_room(value)


def _rooms(value: Any) -> Any:
    if isinstance(value, list):
        if len(value) > MAX_ROOMS:
            raise ValueError(f"at most {MAX_ROOMS} rooms")
        return [_room(room) for room in value]
    return rooms_of(None if value is None else _room(value))


def _some_rooms(value: Any) -> Any:
    if value is None:
        raise ValueError("say which rooms")
    rooms = _rooms(value)
    if len(rooms) > MOST_ROOMS:
        raise ValueError(f"at most {MOST_ROOMS} rooms")
    return rooms


def _sids(value: Any) -> list[str] | None:
    if value is None:
        return None
    sids = value if isinstance(value, list) else [value]
    if len(sids) > MAX_ROOMS:
        raise ValueError(f"at most {MAX_ROOMS} sids")
    return [_sid(sid) for sid in sids]


def _sid(value: Any) -> str:
    if not isinstance(value, str) or node_of(value) is None:
        raise ValueError("is no sid, which is like io1-k3x7q2.Jf8sKa0tQv3mXw2B")
    return value


def _event(name: str) -> str:
    if name in RESERVED_EVENTS:
        raise PydanticCustomError("refused", "is a reserved event name: clients would disconnect")
    return name


Sid: TypeAlias = Annotated[str, refusing(_sid), WithJsonSchema(SID_SCHEMA)]
Room: TypeAlias = Annotated[str | int, refusing(_room), WithJsonSchema(_ROOM_SCHEMA)]
Rooms: TypeAlias = Annotated[
    list[str | int] | None,
    refusing(_rooms),
    WithJsonSchema(
        {"anyOf": [*_ROOM_SCHEMA["anyOf"], {"type": "array", "items": _ROOM_SCHEMA, "maxItems": MAX_ROOMS},
                   {"type": "null"}]}
    ),
]  # fmt: skip
Sids: TypeAlias = Annotated[
    list[str] | None,
    refusing(_sids),
    WithJsonSchema(
        {"anyOf": [SID_SCHEMA, {"type": "array", "items": SID_SCHEMA, "maxItems": MAX_ROOMS}, {"type": "null"}]}
    ),
]
SomeRooms: TypeAlias = Annotated[
    list[str | int],
    refusing(_some_rooms),
    WithJsonSchema(
        {"anyOf": [*_ROOM_SCHEMA["anyOf"], {"type": "array", "items": _ROOM_SCHEMA, "maxItems": MOST_ROOMS}]}
    ),
]
Event: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT, description="The event's name."), AfterValidator(_event)]
Namespace: TypeAlias = Annotated[str, Field(pattern=r"^/[^,?]*$", max_length=MAX_TEXT)]
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=KEY_CHARS,
        description="A word of your choice that stands for this request. Sent again with the same key, it is carried "
        "out once, and answered as before. The header Idempotency-Key does the same.",
    ),
]
