"""What Redis keeps about clients."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import ClientConnected, Room
from sio_cluster.streams.api.leases import Lease

_T = TypeVar("_T")


@dataclass(slots=True)
class ClientRecord:
    """All that Redis knows about one client. `session` is what `save_session` stored, still encoded.

    `restoring`: its connect handler was called with `is_reconnect` in a quarantine, and has not ended.
    """

    connected: ClientConnected
    session: bytes | None
    rooms: set[Room]
    accepted: bool
    transport: str
    restoring: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """The application let the client in."""

    sid: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The client entered a room. It belongs to this namespace."""

    sid: str
    namespace: str
    room: Room


@dataclass(frozen=True, slots=True)
class Left:
    """The client left a room."""

    sid: str
    room: Room


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """Every client of the namespace left the room, whichever its lane."""

    namespace: str
    room: Room


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The client's connection moved to another transport."""

    sid: str
    transport: str


@dataclass(frozen=True, slots=True)
class Restoring:
    """Its connect handler is called with `is_reconnect` in a quarantine, or has ended there (`begun` False)."""

    sid: str
    begun: bool


RecordChange: TypeAlias = Accepted | Joined | Left | RoomClosed | Upgraded | Restoring


class ChangeResult(enum.Enum):
    """What became of one change of a record."""

    DONE = 0
    """The record says so now."""
    GONE = 1
    """Nothing has changed: the client is gone, or belongs to another namespace."""
    FENCED = 2
    """Nothing has changed: the lease is lost. (`RoomClosed`: nothing has changed in the lane of that lease.)"""


class ClientRecords(Protocol):
    """What outlasts app-nodes: a client's connect, its session and its rooms. Changing a client that is gone does
    nothing. Who is in a room is known for each lane, so that closing it reaches the record of each member.

    A change may name the lease on whose behalf it is made: it has no effect once that lease is lost. A lease fences
    the clients of its own lane; a change to a client of another lane is not fenced, since that lease is elsewhere.
    """

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        """Enters new clients. The io-node calls it before it appends their `ClientConnected`.

        Repeating it keeps what the record has gained meanwhile (session, accepted, rooms).
        """

    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record, None when it is gone."""

    async def update(self, changes: Sequence[RecordChange], leases: Sequence[Lease | None] = ()) -> list[ChangeResult]:
        """Applies these changes in order, in one round trip. `leases`: none, or one (or None) for each change.

        Returns what became of each.
        """

    async def forget(self, sids: Sequence[str], leases: Sequence[Lease | None] = ()) -> int:
        """Removes clients that have disconnected. `leases`: none, or one (or None) for each sid.

        Returns how many were left alone because their lease is lost.
        """

    async def save_session(self, sid: str, session: bytes, lease: Lease | None = None) -> bool:
        """Stores the encoded session. False when the client is gone. Raises LeaseLost."""

    async def load_session(self, sid: str) -> bytes | None:
        """The encoded session. None when nothing was saved, or the client is gone."""

    async def clients_of(self, node_id: str) -> list[str]:
        """The sids of the clients that this io-node holds, in alphabetical order."""

    async def forget_node(self, node_id: str) -> None:
        """Removes the list of this io-node's clients. Their records stay."""


def paired(changes: Sequence[_T], leases: Sequence[Lease | None]) -> Iterator[tuple[_T, Lease | None]]:
    """Each change with its lease. ValueError where `leases` are given, but not one for each change."""
    return zip(changes, leases or [None] * len(changes), strict=True)


def io_node_of(sid: str) -> str:
    """The io-node inside a sid. ValueError where it is no sid of this cluster's form."""
    node = node_of(sid)
    if node is None:
        raise ValueError(f"{sid!r} is not a sid of this cluster")
    return node
