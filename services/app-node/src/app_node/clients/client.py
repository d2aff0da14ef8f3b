"""The clients of the lanes that this app-node holds: those of which a fact has come since it took the lane."""

import asyncio
import enum
from collections import deque
from collections.abc import Iterator
from typing import Any

from app_node.clients.environ import environ_of
from app_node.clients.session_codec import decode_session
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from sio_cluster.protocol.messages import ClientConnected, Fact, Handshake, Room
from sio_cluster.streams.api.records import ClientRecord


class State(enum.Enum):
    """Where a client is in its life, as far as this app-node knows."""

    UNKNOWN = "unknown"
    """A fact of it has come, and its record is not loaded."""
    CONNECTING = "connecting"
    """Its connect handler has not ended."""
    CONNECTED = "connected"
    GONE = "gone"
    """Refused, disconnecting or disconnected."""


class Client:
    """One client, and its facts that wait for their turn (`inbox`). `draining`: a task works them off."""

    __slots__ = (
        "_environ",
        "auth",
        "draining",
        "forgotten",
        "handshake",
        "inbox",
        "io_node",
        "lane",
        "namespace",
        "rooms",
        "session",
        "session_lock",
        "settling",
        "sid",
        "state",
        "transport",
        "turned_away",
    )

    def __init__(self, sid: str, io_node: str, lane: Lane) -> None:
        self.sid = sid
        self.lane = lane
        self.io_node = io_node
        self.state = State.UNKNOWN
        self.namespace = ""
        self.auth: bytes | None = None
        self.handshake: Handshake | None = None
        self.transport = ""
        self.rooms: set[Room] = set()  # a copy of what its record says
        self.settling: set[Room] | None = None  # rooms that were entered or left here while the record is read again
        self.session: Any = None  # loaded once, since this app-node alone runs the client's handlers
        self.session_lock: asyncio.Lock | None = None
        self.inbox: deque[tuple[Fact, EntryProgress]] | None = None
        self.draining = False
        self.turned_away = False  # its connect handler runs, and the application has disconnected it meanwhile
        self.forgotten = False  # its record is gone, so this instance may go too
        self._environ: dict[str, Any] | None = None

    def adopt(self, connected: ClientConnected) -> None:
        """Takes over what a client that connects for the first time says of itself."""
        self.namespace = connected.namespace
        self.auth = connected.auth
        self.handshake = connected.handshake
        self.transport = connected.transport
        self.state = State.CONNECTING

    def restore(self, record: ClientRecord) -> None:
        """Takes over the record of a client that another app-node has let in."""
        self.adopt(record.connected)
        self.transport = record.transport
        self.rooms = set(record.rooms)
        self.session = None if record.session is None else decode_session(record.session)

    def enter(self, room: Room) -> None:
        """The application puts the client into a room."""
        self.rooms.add(room)
        if self.settling is not None:
            self.settling.add(room)

    def leave(self, room: Room) -> None:
        """The application takes the client out of a room."""
        self.rooms.discard(room)
        if self.settling is not None:
            self.settling.add(room)

    @property
    def environ(self) -> dict[str, Any]:
        """What `connect` handlers get as `environ`. The same dict each time: an application may keep things in it."""
        if self._environ is None:
            self._environ = environ_of(self.handshake) if self.handshake is not None else {}
        return self._environ


class Clients:
    """All clients that are known here, by sid."""

    def __init__(self) -> None:
        self._by_sid: dict[str, Client] = {}
        self.get = self._by_sid.get

    def __iter__(self) -> Iterator[Client]:
        return iter(self._by_sid.values())

    def __len__(self) -> int:
        return len(self._by_sid)

    def add(self, client: Client) -> None:
        self._by_sid[client.sid] = client

    def remove(self, client: Client) -> None:
        if self._by_sid.get(client.sid) is client:
            del self._by_sid[client.sid]

    def connected(self, sid: str, namespace: str) -> Client | None:
        """The client if it is connected to this namespace, None otherwise."""
        client = self._by_sid.get(sid)
        known = client is not None and client.namespace == namespace and client.state is State.CONNECTED
        return client if known else None

    def present(self, sid: str, namespace: str) -> Client | None:
        """The client if it belongs to this namespace, also while its connect or disconnect handler runs."""
        client = self._by_sid.get(sid)
        return client if client is not None and client.namespace == namespace else None

    def drop_lane(self, lane: Lane) -> int:
        """Forgets the clients of this lane: another app-node knows them now. Returns how many they were."""
        dropped = [client for client in self._by_sid.values() if client.lane is lane]
        for client in dropped:
            del self._by_sid[client.sid]
            client.state = State.GONE
            client.inbox = None
        return len(dropped)
