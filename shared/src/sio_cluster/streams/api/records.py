"""What Redis keeps about clients."""

import enum
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import ClientConnected, Room
from sio_cluster.streams.api.leases import Lease

_T = TypeVar("_T")

OVERDUE_COUNT = 1_000
"""How many clients `ClientRecords.overdue` names, at most."""


@dataclass(slots=True)
class ClientRecord:
    """All that Redis knows about one client. `session` is what `save_session` stored, still encoded.

    `restoring`: its connect handler was called with `is_reconnect` in a quarantine, and has not ended.
    `away`: it has disconnected, and may claim its session back. `connected` says its generation.
    `let_in`: the generation of the connection that the application has let in, and whose disconnect it has not handled.
    None: there is none. `connected_at`: since when it has its connection, in seconds since 1970 by Redis' clock. None
    where a release before this one has let it in.
    """

    connected: ClientConnected
    session: bytes | None
    rooms: set[Room]
    accepted: bool
    transport: str
    restoring: bool = False
    away: bool = False
    let_in: int | None = None
    connected_at: float | None = None

    @property
    def is_here(self) -> bool:
        """Whether the client is connected: the application has let it in, and it is not away."""
        return self.accepted and not self.away


@dataclass(frozen=True, slots=True)
class Accepted:
    """The application let the client in. `generation`: that of the connection."""

    sid: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """The client entered a room. It belongs to this namespace."""

    sid: str
    namespace: str
    room: Room


@dataclass(frozen=True, slots=True)
class Left:
    """The client left a room. It belongs to this namespace."""

    sid: str
    namespace: str
    room: Room


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The client's connection moved to another transport. `generation`: that of the connection.

    Nothing changes where the record is of a later one.
    """

    sid: str
    transport: str
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Restoring:
    """Its connect handler is called with `is_reconnect` in a quarantine, or has ended there (`begun` False)."""

    sid: str
    begun: bool


RecordChange: TypeAlias = Accepted | Joined | Left | Upgraded | Restoring


class ChangeResult(enum.Enum):
    """What became of one change of a record."""

    DONE = 0
    """The record says so now."""
    GONE = 1
    """Nothing has changed: the client is gone, belongs to another namespace, or has a later connection."""
    FENCED = 2
    """Nothing has changed: the lease is lost."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A client that has disconnected. `generation`, `keep_ms`: as in `messages.ClientDisconnected`.

    `untold`: the reason of a disconnect of which the application is told when `keep_ms` are over. "": it has been told.
    """

    sid: str
    generation: int = 0
    keep_ms: int = 0
    untold: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A session that was claimed back: the record says so now.

    `connected`: how the client connected last. `generation`: that of the claim, one more than before. `former`: the
    io-node that held the client, as far as was known; "" where the client was away.
    """

    connected: ClientConnected
    generation: int
    former: str


class ClaimRefused(enum.Enum):
    """Why a session cannot be claimed back. Nothing has changed."""

    GONE = "gone"
    """There is no such client, its time is over, or nobody may claim it."""
    WRONG = "wrong"
    """The pid is not that of this client, or the namespace is not."""
    PENDING = "pending"
    """The application has not let it in yet."""


class ClientRecords(Protocol):
    """What outlasts app-nodes: a client's connect, its session and its rooms. Changing a client that is gone does
    nothing. Who is in a room is known for each lane, so that closing it reaches the record of each member.

    A change may name the lease on whose behalf it is made: it has no effect once that lease is lost. A lease fences
    the clients of its own lane; a change to a client of another lane is not fenced, since that lease is elsewhere.
    """

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        """Enters new clients. The io-node calls it before it appends their `ClientConnected`.

        Repeating it keeps what the record has gained meanwhile (session, accepted, rooms). So does a client that has
        claimed its session back: its record says from then on how it has connected last. One whose record is of a
        later generation is left alone.
        """

    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record, None when it is gone."""

    async def update(self, changes: Sequence[RecordChange], leases: Sequence[Lease | None] = ()) -> list[ChangeResult]:
        """Applies these changes in order, in one round trip. `leases`: none, or one (or None) for each change.

        Returns what became of each.
        """

    async def forget(self, clients: Sequence[Ended], leases: Sequence[Lease | None] = ()) -> int:
        """Removes clients that have disconnected. `leases`: none, or one (or None) for each client.

        One with `keep_ms` is away: its record stays for that time, so that it may be claimed back, and then until
        `away` forgets it. Where its home is gone already, nobody could, and it is removed at once. A client of a later
        generation is left alone: it has come back. But `let_in` is None from then on if it was of this generation or an
        older one, unless the disconnect is `untold`. Where it is None already, nothing is left to be told.

        Returns how many were left alone because their lease is lost.
        """

    async def claim(self, sid: str, namespace: str, pid_hash: bytes, holder: str) -> Claim | ClaimRefused:
        """The client has come back to the io-node `holder`, and proves with its pid who it is. One atomic step.

        A claim that is tried again since its answer was lost gets a generation of its own.
        """

    async def overdue(self, home: str) -> list[tuple[str, int, str]]:
        """Clients of this home that are away, whose time is over, and of whose disconnect the application has not been
        told: sid, generation and reason. At most 1,000.

        They can not be claimed, and `away` does not forget them: tell the application, then `forget` them.
        """

    async def renounce(self, sessions: Sequence[tuple[str, int]]) -> None:
        """Nobody may claim these sessions (sid, generation) any more: their connections have ended for good.

        A client of a later generation is left alone.
        """

    async def away(self, home: str) -> int:
        """How many clients of this home are away, or held by another io-node. Forgets those whose time is over, but not
        those that are `overdue`.
        """

    async def save_session(self, sid: str, session: bytes, lease: Lease | None = None) -> bool:
        """Stores the encoded session. False when the client is gone. Raises LeaseLost."""

    async def load_session(self, sid: str) -> bytes | None:
        """The encoded session. None when nothing was saved, or the client is gone."""

    async def clients_of(self, node_id: str) -> list[tuple[str, int]]:
        """The clients that this io-node holds, whichever their home, in alphabetical order: sid and generation."""


def paired(changes: Sequence[_T], leases: Sequence[Lease | None]) -> Iterator[tuple[_T, Lease | None]]:
    """Each change with its lease. ValueError where `leases` are given, but not one for each change."""
    return zip(changes, leases or [None] * len(changes), strict=True)


def io_node_of(sid: str) -> str:
    """The io-node inside a sid. ValueError where it is no sid of this cluster's form."""
    node = node_of(sid)
    if node is None:
        raise ValueError(f"{sid!r} is not a sid of this cluster")
    return node
