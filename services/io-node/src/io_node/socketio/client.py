"""One client: a connection's membership of one namespace."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from io_node.engineio.api import Connection, Outbound
from io_node.socketio.counters import ClientCounters
from sio_cluster.protocol.messages import AckRequest, ClientConnected, Room
from sio_cluster.protocol.socketio import encode_connected

_MAX_PENDING_ACKS = 1_000
"""How many answers one client may owe: so many that it alone was asked for, and so many that it was asked for with
others. Beyond that the oldest question of that kind is given up, and counted."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """The bounds of every Socket.IO session of a node."""

    max_namespaces: int
    max_attachments: int
    max_payload_bytes: int
    connect_timeout_s: float


class Session(Protocol):
    """The session that a client belongs to, as the hub, the throttle and the client itself use it."""

    @property
    def connection(self) -> Connection: ...

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> SessionLimits: ...

    @property
    def counters(self) -> ClientCounters: ...

    def admit(self, client: "Client") -> None:
        """Pass a client that waited on to the application."""

    def refuse(self, client: "Client", data: bytes) -> None:
        """Turn a pending client away by a CONNECT_ERROR packet with this JSON object."""

    def disconnect(self, client: "Client") -> None:
        """Disconnect the client by a DISCONNECT packet."""

    def disconnect_all(self) -> None:
        """Disconnect every client of the session, then close the connection."""


class Client:
    """A client that waits, is pending, or has joined its namespace.

    `send` writes to the connection once the client has joined. Until then it holds messages back. They count as what
    waits for the connection, but no time runs: it is the application that lets the client wait.
    """

    __slots__ = (
        "_held",
        "connected",
        "joined",
        "lane",
        "pending_acks",
        "rooms",
        "send",
        "session",
        "shared_acks",
        "sid",
    )

    def __init__(self, session: Session, connected: ClientConnected, lane: int) -> None:
        self.sid = connected.sid
        self.lane = lane
        self.session = session
        self.connected = connected
        self.joined = False
        self.rooms: set[Room] = set()
        self.pending_acks: dict[int, str] | None = None
        """The answers that this client alone was asked for: which app-node asked, by ack id."""
        self.shared_acks: dict[int, str] | None = None
        """The same for questions that went to others too. They never push out a question to this client alone."""
        self.send: Callable[[Outbound], None] = self._hold
        self._held: list[Outbound] = []

    @property
    def namespace(self) -> str:
        return self.connected.namespace

    @property
    def held(self) -> int:
        """How many messages are held back until the client is accepted."""
        return len(self._held)

    def accept(self) -> None:
        """Write the CONNECT packet, then what was held back."""
        self.joined = True
        self.send = self.session.connection.send
        self.session.counters.controls += 1
        self.send(Outbound(encode_connected(self.namespace, self.sid)))
        for message in self._take_held():
            self.send(message)

    def end(self) -> int:
        """It is gone: forget what was held back. Returns how many messages that were."""
        self.send = self.session.connection.send  # and not `_hold`, by which the client would hold itself
        return len(self._take_held())

    def expect_ack(self, request: AckRequest, *, alone: bool) -> bool:
        """Remember which app-node wants the answer. False if an older question had to be given up."""
        owed = self.pending_acks if alone else self.shared_acks
        if owed is None:
            owed = {}
            if alone:
                self.pending_acks = owed
            else:
                self.shared_acks = owed
        owed[request.ack_id] = request.app_node
        if len(owed) <= _MAX_PENDING_ACKS:
            return True
        del owed[next(iter(owed))]
        return False

    def answered(self, ack_id: int) -> str | None:
        """The app-node that wants this answer. None where nobody does, or it came before."""
        for owed in (self.pending_acks, self.shared_acks):
            if owed and ack_id in owed:
                return owed.pop(ack_id)
        return None

    def _hold(self, message: Outbound) -> None:
        if message.volatile:
            self.session.counters.held_dropped += 1
            return
        self._held.append(message)
        self.session.connection.keep(message)

    def _take_held(self) -> list[Outbound]:
        held, self._held = self._held, []
        for message in held:
            self.session.connection.let_go(message)
        return held
