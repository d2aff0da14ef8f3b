"""What another program may ask of a bridge, whichever library it uses; and why a bridge refuses."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from sio_cluster.protocol.messages import Room

Source: TypeAlias = Literal["redis-manager", "redis-emitter", "redis-streams-emitter"]

Reason: TypeAlias = Literal[
    "malformed", "pickled", "callback", "server_event", "query", "client_gone", "nodes_too_old", "unsendable"
]
"""malformed: it is not what that library writes. pickled: an old python-socketio wrote it. callback: it asks for an
answer. server_event: `serverSideEmit` in a namespace other than `/`. query: a server asks other servers. client_gone:
its client is not connected. nodes_too_old: a node of an older release does not understand it. unsendable: its data, or
its rooms, cannot be sent."""
REASONS: tuple[str, ...] = (*get_args(Reason), "failed")
"""As they are counted. failed: a defect of the bridge."""


class Refused(Exception):
    """Nothing was done. `why` is for people."""

    def __init__(self, reason: Reason, why: str) -> None:
        super().__init__(why)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """`rooms` None: everybody. `except_rooms`: who is in one of these does not get it; a sid is a room too. `skip_sids`
    are sids only. `volatile`: who cannot be written to at once does not get it."""

    namespace: str
    event: str
    arguments: tuple[Any, ...]
    rooms: list[Room] | None
    except_rooms: list[Room]
    skip_sids: list[str] = field(default_factory=list)
    volatile: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """The clients of a namespace that are in one of `rooms` (None: all of them) and in none of `except_rooms`."""

    namespace: str
    rooms: list[Room] | None
    except_rooms: list[Room]


@dataclass(frozen=True, slots=True)
class EnterRooms:
    selection: Selection
    rooms: list[Room]


@dataclass(frozen=True, slots=True)
class LeaveRooms:
    selection: Selection
    rooms: list[Room]


@dataclass(frozen=True, slots=True)
class DisconnectClients:
    """`close`: the whole connection, not this namespace alone."""

    selection: Selection
    close: bool


@dataclass(frozen=True, slots=True)
class CloseRoom:
    namespace: str
    room: Room


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """For handlers of the servers, not for clients."""

    namespace: str
    event: str
    arguments: tuple[Any, ...]


Request: TypeAlias = EmitEvent | EnterRooms | LeaveRooms | DisconnectClients | CloseRoom | ServerEvent
