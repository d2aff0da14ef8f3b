"""The clients whose lanes this app-node holds, as far as they were heard of."""

import asyncio
import enum
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from app_node.clients.environ import environ_of
from app_node.clients.session_codec import decode_session
from app_node.lanes.lane import Lane
from app_node.lanes.progress import Scope
from sio_cluster.protocol.messages import ClientConnected, Fact, Handshake, Room
from sio_cluster.streams.redis.records import ClientRecord


class State(enum.Enum):
    UNKNOWN = "unknown"  # heard of, its record is not loaded
    CONNECTING = "connecting"  # its connect handler has not ended
    CONNECTED = "connected"
    GONE = "gone"  # refused, disconnecting or disconnected


class Client:
    """One client: what it is, and its facts that wait for their turn."""

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
        "sid",
        "state",
        "transport",
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
        self.rooms: set[Room] = set()
        self.session: Any = None  # loaded once: this app-node alone runs the client's handlers
        self.session_lock: asyncio.Lock | None = None
        self.inbox: deque[tuple[Fact, Scope]] | None = None
        self.draining = False
        self.forgotten = False  # it has no record any more, and needs no instance either
        self._environ: dict[str, Any] | None = None

    def adopt(self, connected: ClientConnected) -> None:
        """A first connect."""
        self.namespace = connected.namespace
        self.auth = connected.auth
        self.handshake = connected.handshake
        self.transport = connected.transport
        self.state = State.CONNECTING

    def restore(self, record: ClientRecord) -> None:
        """A client that another app-node, or an earlier life of this one, let in."""
        self.adopt(record.connected)
        self.transport = record.transport
        self.rooms = set(record.rooms)
        self.session = None if record.session is None else decode_session(record.session)

    @property
    def environ(self) -> dict[str, Any]:
        """The same dict each time, so that an application may keep things in it."""
        if self._environ is None:
            self._environ = environ_of(self.handshake) if self.handshake is not None else {}
        return self._environ


class Clients:
    """All of them, by sid."""

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
        return client if client is not None and client.namespace == namespace and _is_in(client) else None

    def present(self, sid: str, namespace: str) -> Client | None:
        """Also a client whose connect or disconnect handler runs just now."""
        client = self._by_sid.get(sid)
        return client if client is not None and client.namespace == namespace else None

    def drop_lane(self, lane: Lane) -> int:
        """Forgets the instances of this lane's clients: another app-node makes its own. How many they were."""
        dropped = [client for client in self._by_sid.values() if client.lane is lane]
        for client in dropped:
            del self._by_sid[client.sid]
            client.state = State.GONE
            client.inbox = None
        return len(dropped)


def _is_in(client: Client) -> bool:
    return client.state is State.CONNECTED


class Environs(Mapping[str, dict[str, Any]]):
    """python-socketio's `server.environ`: built when asked for."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def __getitem__(self, sid: str) -> dict[str, Any]:
        client = self._clients.get(sid)
        if client is None or client.handshake is None:
            raise KeyError(sid)
        return client.environ

    def __iter__(self) -> Iterator[str]:
        return (client.sid for client in self._clients if client.handshake is not None)

    def __len__(self) -> int:
        return sum(client.handshake is not None for client in self._clients)
