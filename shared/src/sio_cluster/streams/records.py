"""What outlasts app-nodes: a client's connect, its session and its rooms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sio_cluster.protocol.messages import ClientConnected, Room
from sio_cluster.streams.connection import Bus


@dataclass(slots=True)
class ClientRecord:
    """All that Redis knows about one client. `session` is what `save_session` stored, still encoded."""

    connected: ClientConnected
    session: bytes | None
    rooms: set[Room]
    accepted: bool
    transport: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The application let the client in."""

    sid: str


@dataclass(frozen=True, slots=True)
class Joined:
    sid: str
    room: Room


@dataclass(frozen=True, slots=True)
class Left:
    sid: str
    room: Room


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The client's connection moved to another transport."""

    sid: str
    transport: str


RecordChange: TypeAlias = Accepted | Joined | Left | Upgraded


class ClientRecords:
    """The records of all clients. A change to a client that is gone has no effect."""

    def __init__(self, bus: Bus, lanes: int) -> None:
        self._bus = bus

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        """Enters new clients. The io-node calls it before it appends their `ClientConnected`."""
        raise NotImplementedError

    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record, None when it is gone."""
        raise NotImplementedError

    async def forget(self, sids: Sequence[str]) -> None:
        """Removes clients that have disconnected."""
        raise NotImplementedError

    async def save_session(self, sid: str, session: bytes) -> bool:
        """False when the client is gone."""
        raise NotImplementedError

    async def load_session(self, sid: str) -> bytes | None:
        """None when nothing was saved or the client is gone."""
        raise NotImplementedError

    async def update(self, changes: Sequence[RecordChange]) -> None:
        """Applies these changes in order, in one round trip."""
        raise NotImplementedError

    async def clients_of(self, node_id: str) -> list[str]:
        """The sids that this io-node holds."""
        raise NotImplementedError

    async def forget_node(self, node_id: str) -> None:
        """Removes the list of this io-node's clients (not their records)."""
        raise NotImplementedError
