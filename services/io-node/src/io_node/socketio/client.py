"""One client: a connection's membership of one namespace."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from io_node.engineio.api import Connection, Outbound
from io_node.socketio.counters import ClientCounters
from sio_cluster.protocol.messages import AckRequest, ClientConnected, Room
from sio_cluster.protocol.socketio import encode_connected

_MAX_PENDING_ACKS = 1_000
"""How many answers of one kind a client may owe (`Client.expect_ack`). Beyond that the oldest question of that kind is
given up, and counted."""


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
        "_owed",
        "connected",
        "joined",
        "lane",
        "rooms",
        "send",
        "session",
        "sid",
    )

    def __init__(self, session: Session, connected: ClientConnected, lane: int) -> None:
        self.sid = connected.sid
        self.lane = lane
        self.session = session
        self.connected = connected
        self.joined = False
        self.rooms: set[Room] = set()
        self.send: Callable[[Outbound], None] = self._hold
        self._held: list[Outbound] = []
        self._owed: dict[tuple[bool, bool], dict[int, str]] | None = None  # by kind: which app-node asked, by ack id

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
        """Remember which app-node wants the answer. False if an older question had to be given up.

        There are four kinds: a `call` or an emit with a callback, to this client `alone` or to others too. No kind
        pushes out another.
        """
        if self._owed is None:
            self._owed = {}
        owed = self._owed.setdefault((request.is_call, alone), {})
        owed[request.ack_id] = request.app_node
        if len(owed) <= _MAX_PENDING_ACKS:
            return True
        del owed[next(iter(owed))]
        return False

    def answered(self, ack_id: int) -> str | None:
        """The app-node that wants this answer. None where nobody does, or it came before."""
        for owed in (self._owed or {}).values():
            if ack_id in owed:
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
