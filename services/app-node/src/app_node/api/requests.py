"""What may be asked: one model for each request. They say what is wrong by field, and describe the API (OpenAPI).

A field that is not known is refused: a room that is misspelt would be an emit to everybody.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app_node.api.fields import Event, IdempotencyKey, Namespace, Room, Rooms, Sid, Sids, SomeRooms

MAX_COMMANDS = 10_000
"""In one batch."""
MOST_TIMEOUT_S = 300
"""How long one request may wait for a client's answer."""


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
            raise PydanticCustomError("both", "give data or args, not both", {"field": "args"})
        return self

    @property
    def values(self) -> Any:
        """As `emit` takes them."""
        return self.data if self.args is None else tuple(self.args)


class Emit(Said):
    """Emits an event. Without `room` everybody in the namespace gets it; an empty list is nobody."""

    room: Annotated[Rooms, Field(description="A room, a sid, or several of them.")] = None
    skip_sid: Annotated[Sids, Field(description="Clients that do not get it.")] = None
    except_room: Annotated[Rooms, Field(description="Rooms or sids whose members do not get it.")] = None
    volatile: Annotated[
        bool, Field(description="A client that cannot be written to at once does not get it, now or later.")
    ] = False


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


class Matching(Asked):
    """Who is meant: whoever is in one of the rooms `room`, and in none of `except_room`. A sid is a room, too."""

    room: Annotated[Rooms, Field(description="Rooms or sids. Without it: everybody. An empty list is nobody.")] = None
    except_room: Annotated[Rooms, Field(description="Rooms or sids whose members are not meant.")] = None
    namespace: Namespace = "/"


class EnterRooms(Matching):
    """All clients that match enter these rooms."""

    rooms: Annotated[SomeRooms, Field(description="The rooms that they enter.")]


class LeaveRooms(Matching):
    """All clients that match leave these rooms."""

    rooms: Annotated[SomeRooms, Field(description="The rooms that they leave.")]


class DisconnectRoom(Matching):
    """Disconnects all clients that match. Everybody is meant only by `"room": null`."""

    room: Annotated[Rooms, Field(description="Rooms or sids. null is everybody, an empty list is nobody.")]
    close: Annotated[bool, Field(description="Closes their whole connections, other namespaces too.")] = False


Command: TypeAlias = (
    Emit | Call | Disconnect | EnterRoom | LeaveRoom | CloseRoom | EnterRooms | LeaveRooms | DisconnectRoom
)


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


class EnterRoomsRequest(EnterRooms):
    __doc__ = EnterRooms.__doc__
    idempotency_key: IdempotencyKey = None


class LeaveRoomsRequest(LeaveRooms):
    __doc__ = LeaveRooms.__doc__
    idempotency_key: IdempotencyKey = None


class DisconnectRoomRequest(DisconnectRoom):
    __doc__ = DisconnectRoom.__doc__
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


class EnterRoomsInBatch(EnterRooms):
    __doc__ = EnterRooms.__doc__
    verb: Literal["enter_rooms"]


class LeaveRoomsInBatch(LeaveRooms):
    __doc__ = LeaveRooms.__doc__
    verb: Literal["leave_rooms"]


class DisconnectRoomInBatch(DisconnectRoom):
    __doc__ = DisconnectRoom.__doc__
    verb: Literal["disconnect_room"]


InBatch: TypeAlias = Annotated[
    EmitInBatch
    | DisconnectInBatch
    | EnterRoomInBatch
    | LeaveRoomInBatch
    | CloseRoomInBatch
    | EnterRoomsInBatch
    | LeaveRoomsInBatch
    | DisconnectRoomInBatch,
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
    | EnterRoomsRequest
    | LeaveRoomsRequest
    | DisconnectRoomRequest
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
        case EnterRooms():
            return "enter_rooms"
        case LeaveRooms():
            return "leave_rooms"
        case DisconnectRoom():
            return "disconnect_room"
