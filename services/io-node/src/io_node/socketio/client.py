"""One client: a connection's membership of one namespace."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from msgspec.structs import replace

from io_node.engineio.api import Bundle, Connection, Outbound, Sendable
from io_node.socketio.capability import Asked
from io_node.socketio.catching_up import CatchingUp, Missed
from io_node.socketio.counters import ClientCounters
from io_node.turns import Turns
from sio_cluster.protocol.messages import AckRequest, ClientConnected, Room
from sio_cluster.protocol.recovery import Position
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
    recovery_window_ms: int = 0


class RoomsAt(NamedTuple):
    """The rooms of a client that comes back, at a place in the log of its home.

    `closed`: rooms that it lost while it waited for the application, because the room was closed.
    """

    rooms: set[Room]
    closed: Sequence[Room]


class Replay(Missed, Protocol):
    """Knows what a client that has claimed its session back missed."""

    def rooms(self, place: Position) -> RoomsAt:
        """Its rooms at this place in the log of its home, before the command there."""

    def end(self) -> None:
        """Nobody will ask any more. Idempotent."""


class Membership(Protocol):
    """The hub that a client belongs to, as its session uses it."""

    @property
    def offset(self) -> str:
        """The place in the log of the home up to which commands have been carried out. "" where there is no log."""

    def add(self, client: "Client") -> None: ...

    def remove(self, client: "Client", *, comes_back: bool = False) -> None: ...

    def __contains__(self, sid: str) -> bool: ...


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
        """Pass a client that waited on to the application, or have its claim looked at first."""

    def pass_on(self, client: "Client") -> None:
        """Pass a client on to the application: as the one whose session it has claimed back, or as a new one."""

    def refuse(self, client: "Client", data: bytes) -> None:
        """Turn a pending client away by a CONNECT_ERROR packet with this JSON object."""

    def disconnect(self, client: "Client") -> None:
        """Disconnect the client by a DISCONNECT packet."""

    def disconnect_all(self) -> None:
        """Disconnect every client of the session, then close the connection."""

    def evict(self) -> None:
        """The client has come back on another connection: close this one at once."""


class Client:
    """A client that waits, claims its session back, is pending, or has joined its namespace.

    `send` writes to the connection once the client has joined. Until then it holds messages back. They count as what
    waits for the connection, but no time runs: it is the application that lets the client wait.

    `connected`: what the application is told of it. `can_claim`: whether it may claim its session back. `asked`: what
    its CONNECT shows, until its claim is decided. `pid`: what its CONNECT packet will say, "" where it cannot claim its
    session back, and once the packet was written. `replay`: of a client that has claimed its session back, until it has
    all that it missed: while it is pending it holds nothing back, since all is in the log.
    """

    __slots__ = (
        "_held",
        "_owed",
        "asked",
        "can_claim",
        "catching_up",
        "connected",
        "hub",
        "joined",
        "lane",
        "pid",
        "replay",
        "rooms",
        "send",
        "session",
        "sid",
        "told",
    )

    def __init__(
        self,
        session: Session,
        connected: ClientConnected,
        lane: int,
        hub: Membership,
        *,
        pid: str = "",
        asked: Asked | None = None,
    ) -> None:
        self.sid = connected.sid
        self.lane = lane
        self.session = session
        self.connected = connected
        self.can_claim = bool(connected.pid_hash)
        self.hub = hub
        self.pid = pid
        self.asked = asked
        self.replay: Replay | None = None
        self.catching_up: CatchingUp | None = None
        self.joined = False
        self.rooms: set[Room] = set()
        self.told: set[Room] | None = None  # rooms of which the holder of its lane was told (`rooms.Rooms`)
        self.send: Callable[[Sendable], None] = self._hold
        self._held: list[Outbound] = []
        self._owed: dict[tuple[bool, bool], dict[int, AckRequest]] | None = None  # by kind, then by ack id

    @property
    def namespace(self) -> str:
        return self.connected.namespace

    @property
    def generation(self) -> int:
        return self.connected.generation

    @property
    def may_come_back(self) -> bool:
        """Whether it knows the pid with which it may claim its session back."""
        return self.can_claim and (self.joined or self.generation > 0)

    @property
    def returning(self) -> bool:
        """Whether it has claimed its session back and is pending: nothing is said to it but what the log says."""
        return self.replay is not None and not self.joined

    @property
    def held(self) -> int:
        """How many messages are held back until the client is accepted, or has caught up."""
        return len(self._held) + (0 if self.catching_up is None else self.catching_up.held)

    def claimed(self, connected: ClientConnected, lane: int, hub: Membership, pid: str, replay: Replay) -> None:
        """It has claimed this session back: from now on it is that client."""
        self.sid = connected.sid
        self.connected = connected
        self.can_claim = True
        self.lane = lane
        self.hub = hub
        self.pid = pid
        self.replay = replay

    def introduced(self, transport: str) -> ClientConnected:
        """What the application is told of it, which is on this transport now. Call it once, when it is in its hub.

        Afterwards `connected` has no more of that than may be needed again. It stays for as long as the client does.
        """
        known = self.connected
        if known.transport != transport:
            known = self.connected = replace(known, transport=transport)
        if not self.can_claim:
            return known
        self.connected = replace(known, pid_hash=b"", since="")
        return known if known.generation else replace(known, since=self.hub.offset)

    def accept(self) -> None:
        """Write the CONNECT packet, then what was held back."""
        self._join()
        for message in self._take_held():
            self.send(message)

    def catch_up(
        self, replay: Replay, place: Callable[[], Position], turns: Turns, on_live: Callable[[], None]
    ) -> None:
        """Write the CONNECT packet, then what it missed: all of it, or a first portion.

        In the latter case `on_live` is called when the rest was sent, and until then `send` is another one.
        """
        self._join()
        self.catching_up = catching_up = CatchingUp(
            self.session.connection,
            self.send,
            replay,
            place=place,
            counters=self.session.counters,
            turns=turns,
            on_live=on_live,
        )
        if catching_up.step():
            self.go_live()
        else:
            self.send = catching_up.hold
            catching_up.go_on()

    def go_live(self) -> None:
        """It has caught up: from now on what comes is sent directly."""
        catching_up, self.catching_up, self.replay = self.catching_up, None, None
        if catching_up is not None:
            catching_up.end()
            self.send = catching_up.send

    def part(self) -> CatchingUp | None:
        """It is leaving, but what was said to it before shall still come. None: it has everything already."""
        catching_up, self.catching_up = self.catching_up, None
        if catching_up is not None:
            self.replay = None
        return catching_up

    def end(self) -> int:
        """It is gone: forget what was held back. Returns how many messages that were."""
        self.send = self.session.connection.send  # and not `_hold`, by which the client would hold itself
        self.pid = ""
        dropped = len(self._take_held())
        if self.catching_up is not None:
            dropped += self.catching_up.end()
            self.catching_up = None
        if self.replay is not None:
            self.replay.end()
        return dropped

    def expect_ack(self, request: AckRequest, *, alone: bool) -> bool:
        """Remember which app-node wants the answer. False if an older question had to be given up.

        There are four kinds: a `call` or an emit with a callback, to this client `alone` or to others too. No kind
        pushes out another.
        """
        if self._owed is None:
            self._owed = {}
        owed = self._owed.setdefault((request.is_call, alone), {})
        owed[request.ack_id] = request
        if len(owed) <= _MAX_PENDING_ACKS:
            return True
        del owed[next(iter(owed))]
        return False

    def answered(self, ack_id: int) -> str | None:
        """The app-node that wants this answer. None where nobody does, or it came before."""
        for owed in (self._owed or {}).values():
            if ack_id in owed:
                return owed.pop(ack_id).app_node
        return None

    def _join(self) -> None:
        self.joined = True
        connection = self.session.connection
        self.send = connection.send_with_offset if self.can_claim else connection.send
        self.session.counters.controls += 1
        self.send(Outbound(encode_connected(self.namespace, self.sid, self.pid)))
        self.pid = ""

    def unanswered(self) -> list[AckRequest]:
        """It is gone: the questions whose answers it still owes, and of which the app-node is told. They are forgotten.

        It is told of those to this client alone, and where it wants to know whom it has asked.
        """
        owed, self._owed = self._owed or {}, None
        return [
            request for (_, alone), asked in owed.items() for request in asked.values() if alone or request.names_asked
        ]

    def _hold(self, message: Sendable) -> None:
        if isinstance(message, Bundle):
            for each in message.messages:
                self._hold(each)
            return
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
