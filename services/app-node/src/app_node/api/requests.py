"""What may be asked: one model for each request. They say what is wrong by field, and describe the API (OpenAPI).

A field that is not known is refused: a room that is misspelt would be an emit to everybody.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from app_node.interface.rooms import checked_room, rooms_of
from sio_cluster.protocol.ids import node_of

MAX_COMMANDS = 10_000
"""In one batch."""
MAX_TEXT = 1_000
"""Characters of a name: of an event, a room, a namespace."""
MAX_ROOMS = 10_000
"""Rooms, or sids to skip, of one emit."""
MOST_TIMEOUT_S = 300
"""How long one request may wait for a client's answer."""
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
Event: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT, description="The event's name.")]
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


class Asked(BaseModel):
    """What all requests have in common: nothing is converted, and nothing unknown is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Said(Asked):
    """An event: `data` is its one argument, `args` are several; with neither it has none."""

    model_config = ConfigDict(json_schema_extra={"not": {"required": ["data", "args"]}})

    event: Event
    data: Annotated[Any, Field(description="The event's argument, any JSON. null: it has none.")] = None
    args: Annotated[list[Any] | None, Field(description="The event's arguments, instead of `data`.")] = None
    namespace: Namespace = "/"

    @model_validator(mode="after")
    def _one_of_both(self) -> "Said":
        if {"data", "args"} <= self.model_fields_set:
            raise PydanticCustomError("both", "data and args: give one of them")
        return self

    @property
    def values(self) -> Any:
        """As `emit` takes them."""
        return self.data if self.args is None else tuple(self.args)


class Emit(Said):
    """Emits an event. Without `room` everybody in the namespace gets it; an empty list is nobody."""

    room: Annotated[Rooms, Field(description="A room, a sid, or several of them.")] = None
    skip_sid: Annotated[Sids, Field(description="Clients that do not get it.")] = None


class Call(Said):
    """Emits an event to one client, and waits for its answer."""

    sid: Sid
    timeout: Annotated[
        Annotated[float, Field(gt=0, le=MOST_TIMEOUT_S)] | Annotated[int, Field(gt=0, le=MOST_TIMEOUT_S)],
        Field(description="Seconds that the client gets."),
    ] = 10.0


class Disconnect(Asked):
    """Disconnects a client from a namespace. It is no error if it is not connected."""

    sid: Sid
    namespace: Namespace = "/"
    close: Annotated[bool, Field(description="Closes its whole connection, other namespaces too.")] = False


class EnterRoom(Asked):
    """A client enters a room."""

    sid: Sid
    room: Room
    namespace: Namespace = "/"


class LeaveRoom(Asked):
    """A client leaves a room. It is no error if it is not in there, or not connected."""

    sid: Sid
    room: Room
    namespace: Namespace = "/"


class CloseRoom(Asked):
    """All clients leave a room."""

    room: Room
    namespace: Namespace = "/"


Command: TypeAlias = Emit | Call | Disconnect | EnterRoom | LeaveRoom | CloseRoom


# --- each as a request of its own


class EmitRequest(Emit):
    __doc__ = Emit.__doc__
    idempotency_key: IdempotencyKey = None


class CallRequest(Call):
    __doc__ = Call.__doc__
    idempotency_key: IdempotencyKey = None


class DisconnectRequest(Disconnect):
    __doc__ = Disconnect.__doc__
    idempotency_key: IdempotencyKey = None


class EnterRoomRequest(EnterRoom):
    __doc__ = EnterRoom.__doc__
    idempotency_key: IdempotencyKey = None


class LeaveRoomRequest(LeaveRoom):
    __doc__ = LeaveRoom.__doc__
    idempotency_key: IdempotencyKey = None


class CloseRoomRequest(CloseRoom):
    __doc__ = CloseRoom.__doc__
    idempotency_key: IdempotencyKey = None


# --- each in a batch, which has no calls: it is answered when all of it is in Redis


class EmitInBatch(Emit):
    __doc__ = Emit.__doc__
    verb: Literal["emit"]


class DisconnectInBatch(Disconnect):
    __doc__ = Disconnect.__doc__
    verb: Literal["disconnect"]


class EnterRoomInBatch(EnterRoom):
    __doc__ = EnterRoom.__doc__
    verb: Literal["enter_room"]


class LeaveRoomInBatch(LeaveRoom):
    __doc__ = LeaveRoom.__doc__
    verb: Literal["leave_room"]


class CloseRoomInBatch(CloseRoom):
    __doc__ = CloseRoom.__doc__
    verb: Literal["close_room"]


InBatch: TypeAlias = Annotated[
    EmitInBatch | DisconnectInBatch | EnterRoomInBatch | LeaveRoomInBatch | CloseRoomInBatch,
    Field(discriminator="verb"),
]


class BatchRequest(Asked):
    """Several commands. If one of them is malformed, none is carried out."""

    commands: Annotated[list[InBatch], Field(min_length=1, max_length=MAX_COMMANDS)]
    idempotency_key: IdempotencyKey = None


Request: TypeAlias = (
    EmitRequest
    | CallRequest
    | DisconnectRequest
    | EnterRoomRequest
    | LeaveRoomRequest
    | CloseRoomRequest
    | BatchRequest
)


def verb_of(command: Command) -> str:
    """The word for it: in a key's scopes, in a batch, in the path of its request."""
    match command:
        case Emit():
            return "emit"
        case Call():
            return "call"
        case Disconnect():
            return "disconnect"
        case EnterRoom():
            return "enter_room"
        case LeaveRoom():
            return "leave_room"
        case CloseRoom():
            return "close_room"
