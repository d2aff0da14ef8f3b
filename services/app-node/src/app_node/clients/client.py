"""The clients of the lanes that this app-node holds: those of which a fact has come since it took the lane."""

import asyncio
import enum
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

import msgspec

from app_node.clients.environ import Environ, environ_of
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


_NO_ROOMS: AbstractSet[Room] = frozenset()


class Client:
    """One client, and its facts that wait for their turn (`waiting`). `busy`: a task works them off.

    Most clients say nothing most of the time, and an app-node may know a hundred thousand. So one that is quiet holds
    little: its handshake is packed, its environ is built when it is asked for, and equal texts are one object.
    """

    __slots__ = (
        "_environ",
        "_handshake",
        "_rooms",
        "auth",
        "busy",
        "forgotten",
        "generation",
        "holder",
        "io_node",
        "lane",
        "namespace",
        "session",
        "session_lock",
        "settling",
        "sid",
        "state",
        "transport",
        "turned_away",
        "waiting",
    )

    def __init__(self, sid: str, io_node: str, lane: Lane) -> None:
        self.sid = sid
        self.lane = lane
        self.io_node = sys.intern(io_node)  # its home: what is said to it goes there
        self.holder = self.io_node  # which has its connection
        self.generation = 0  # of the connection that is known here
        self.state = State.UNKNOWN
        self.namespace = ""
        self.auth: bytes | None = None
        self.transport = ""
        self.settling: set[Room] | None = None  # rooms that were entered or left here while the record is read again
        self.session: Any = None  # loaded once, since this app-node alone runs the client's handlers
        self.session_lock: asyncio.Lock | None = None
        self.waiting: deque[tuple[Fact, EntryProgress]] | None = None
        self.busy = False
        self.turned_away = False  # its connect handler runs, and the application has disconnected it meanwhile
        self.forgotten = False  # its record is gone, so this instance may go too
        self._handshake: bytes | None = None
        self._rooms: set[Room] | None = None
        self._environ: Environ | weakref.ref[Environ] | None = None

    @property
    def rooms(self) -> AbstractSet[Room]:
        """A copy of what its record says."""
        return self._rooms or _NO_ROOMS

    @property
    def has_connected(self) -> bool:
        """Whether it is known how this client connected."""
        return self._handshake is not None

    @property
    def is_recovered(self) -> bool:
        """Whether its connection has claimed its session back."""
        return self.generation > 0

    def adopt(self, connected: ClientConnected, rooms: AbstractSet[Room] = _NO_ROOMS) -> None:
        """Takes over what a client that connects says of itself. `rooms`: those that it has already."""
        self.generation = connected.generation
        self.holder = sys.intern(connected.holder) or self.io_node
        self.forgotten = self.turned_away = False
        self._environ = None
        self.namespace = sys.intern(connected.namespace)
        self.auth = connected.auth
        self._handshake = msgspec.msgpack.encode(connected.handshake)
        self.transport = sys.intern(connected.transport)
        self.take_rooms(rooms)
        self.state = State.CONNECTING

    def restore(self, record: ClientRecord) -> None:
        """Takes over the record of a client that another app-node has let in."""
        self.adopt(record.connected, record.rooms)
        if record.let_in is not None and not record.away:
            self.generation = record.let_in
        self.transport = sys.intern(record.transport)
        self.session = None if record.session is None else decode_session(record.session)

    def resume(self, connected: ClientConnected, record: ClientRecord) -> None:
        """Takes over what a client says of itself that has a record: it has claimed its session back, or its connect
        handler did not come to its end. What it had, it has."""
        self.adopt(connected, record.rooms)
        if self.session is None and record.session is not None:
            self.session = decode_session(record.session)

    def enter(self, room: Room) -> None:
        """The application puts the client into a room."""
        self.set_room(room, inside=True)
        if self.settling is not None:
            self.settling.add(room)

    def leave(self, room: Room) -> None:
        """The application takes the client out of a room."""
        self.set_room(room, inside=False)
        if self.settling is not None:
            self.settling.add(room)

    def set_room(self, room: Room, *, inside: bool) -> None:
        """What its record says of this room now."""
        if inside:
            self._rooms = self._rooms or set()
            self._rooms.add(room)
        elif self._rooms is not None:
            self._rooms.discard(room)
            self._rooms = self._rooms or None

    def take_rooms(self, rooms: AbstractSet[Room]) -> None:
        """What its record says of all rooms now."""
        self._rooms = set(rooms) or None

    @property
    def environ(self) -> Environ:
        """What `connect` handlers get as `environ`.

        The same dict each time, as far as anybody can tell: an application may keep things in it.
        """
        held = self._environ
        environ = held() if isinstance(held, weakref.ref) else held
        if environ is None:
            content = {} if self._handshake is None else environ_of(_decoder.decode(self._handshake))
            environ = Environ(content, self._keep_environ)
            self._environ = weakref.ref(environ)
        return environ

    def settled(self) -> None:
        """Its connect handler has ended: what only that needed goes."""
        self.auth = None
        if isinstance(self._environ, weakref.ref) and self._environ() is None:
            self._environ = None

    def _keep_environ(self, environ: Environ) -> None:
        self._environ = environ


_decoder = msgspec.msgpack.Decoder(Handshake)


class Clients:
    """All clients that are known here, by sid."""

    def __init__(self) -> None:
        self._by_sid: dict[str, Client] = {}
        self._noted: list[set[tuple[str, Room]]] = []
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

    def enter(self, client: Client, room: Room) -> None:
        """The application puts the client into a room."""
        client.enter(room)
        for noted in self._noted:
            noted.add((client.sid, room))

    def leave(self, client: Client, room: Room) -> None:
        """The application takes the client out of a room."""
        client.leave(room)
        for noted in self._noted:
            noted.add((client.sid, room))

    @contextmanager
    def noting_changes(self) -> Iterator[set[tuple[str, Room]]]:
        """Gives a set, into which comes what is entered and left from now on: sid and room."""
        noted: set[tuple[str, Room]] = set()
        self._noted.append(noted)
        try:
            yield noted
        finally:
            self._noted = [other for other in self._noted if other is not noted]

    def drop_lane(self, lane: Lane) -> int:
        """Forgets the clients of this lane: another app-node knows them now. Returns how many they were."""
        dropped = [client for client in self._by_sid.values() if client.lane is lane]
        for client in dropped:
            del self._by_sid[client.sid]
            client.state = State.GONE
            client.waiting = None
        return len(dropped)
