"""Stand-ins for what surrounds a session: a connection that remembers, and a place for facts."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from io_node.backpressure import Backpressure
from io_node.engineio.api import Bundle, Connection, Outbound, Sendable
from io_node.socketio.absent import Absent
from io_node.socketio.asked import AskedMany
from io_node.socketio.client import Client, SessionLimits
from io_node.socketio.counters import ClientCounters
from io_node.socketio.hub import Hub
from io_node.socketio.newcomers import Newcomers
from io_node.socketio.session import ClientSession
from io_node.socketio.throttle import ConnectThrottle
from io_node.tracing import Traces
from io_node.turns import Turns
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.messages import (
    RECOVERY_LEVEL,
    AckRequest,
    Canary,
    ClientConnected,
    Evict,
    Fact,
    Handshake,
    Room,
    RoomChanged,
)
from sio_cluster.protocol.reasons import PARSE_ERROR, SLOW_CONSUMER

HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "localhost")], "127.0.0.1")
LIMITS = SessionLimits(max_namespaces=3, max_attachments=10, max_payload_bytes=1_000, connect_timeout_s=45.0)
NODE = "io1-aaaaaa"
LANES = 4
BUFFER_BYTES = 5_000_000


class FakeConnection:
    """Closes at once, within `close`, which is the hardest case for those above it."""

    def __init__(self) -> None:
        self.id = "secret"
        self.handshake = HANDSHAKE
        self.transport = "websocket"
        self.sent: list[bytes] = []
        self.kept_bytes = 0
        self.closed: str | None = None
        self.overflowed: str | None = None
        self.paused = False
        self.takes = False
        """Whether the transport takes all at the end of the turn. False: when the test says so, by `take_all`."""
        self.when_taken_calls: list[Callable[[], None]] = []
        self.close_on_send = False
        self.session: ClientSession | None = None

    def send(self, message: Sendable) -> None:
        if isinstance(message, Bundle):
            for each in message.messages:
                self.send(each)
        elif self.closed is None:
            assert message.packet is not None
            self.sent.append(message.packet)
            self.sent.extend(message.attachments)
            if self.close_on_send:
                self.close("slow consumer")

    def send_with_offset(self, message: Sendable) -> None:
        self.send(message.with_offset())

    def fail(self, reason: str) -> None:
        self.close(reason)

    def overflow(self, why: str) -> None:
        self.overflowed = why
        self.close(SLOW_CONSUMER)

    def when_taken(self, callback: Callable[[], None]) -> None:
        if self.takes:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self.when_taken_calls.append(callback)

    def take_all(self) -> None:
        """The transport has taken what was sent."""
        callbacks, self.when_taken_calls = self.when_taken_calls, []
        for callback in callbacks:
            callback()

    def keep(self, message: Outbound) -> None:
        self.kept_bytes += message.size

    def let_go(self, message: Outbound) -> None:
        self.kept_bytes -= message.size

    def close(self, reason: str) -> None:
        if self.closed is None:
            self.closed = reason
            assert self.session is not None
            self.session.on_close(reason)

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False

    def take(self) -> list[bytes]:
        """What was sent since the last time."""
        sent, self.sent = self.sent, []
        return sent


class FakeTimer:
    """One of the timers that run."""

    def __init__(self, callback: Callable[[], None], running: list["FakeTimer"]) -> None:
        self._callback = callback
        self._running = running

    def fire(self) -> None:
        self._running.remove(self)
        self._callback()

    def cancel(self) -> None:
        self._running.remove(self)


@dataclass
class FakeClaims:
    """Decides nothing by itself. `claiming`: whose claim is looked at, and why they have left."""

    claiming: dict[Client, str | None] = field(default_factory=dict)

    def begin(self, client: Client) -> None:
        self.claiming[client] = None

    def leave(self, client: Client, reason: str) -> bool:
        if client not in self.claiming:
            return False
        self.claiming[client] = reason
        return True

    def refuse(self, client: Client) -> None:
        """It becomes a new client."""
        del self.claiming[client]
        client.session.pass_on(client)


@dataclass
class FakeUplink:
    backpressure: Backpressure
    facts: list[tuple[int | str, Fact]] = field(default_factory=list)
    renounced: list[tuple[str, int]] = field(default_factory=list)
    forgotten: list[Connection] = field(default_factory=list)

    def put(self, destination: int | str, fact: Fact, sender: Connection) -> None:
        self.facts.append((destination, fact))

    def renounce(self, sid: str, generation: int) -> None:
        self.renounced.append((sid, generation))

    def forget(self, sender: Connection) -> None:
        self.forgotten.append(sender)
        self.backpressure.forget(sender)

    def take(self) -> list[Fact]:
        """The facts since the last time."""
        facts, self.facts = [fact for _, fact in self.facts], []
        return facts


class Node:
    """A hub with its surroundings. Sids are numbered, so that tests can name them."""

    def __init__(self, limits: SessionLimits = LIMITS, rate: int = 0, traces: Traces | None = None) -> None:
        self.traces = traces
        self.counters = ClientCounters()
        backpressure = Backpressure()
        self.uplink = FakeUplink(backpressure)
        self.canaries: list[Canary] = []
        self.told: list[tuple[int, RoomChanged]] = []
        self.idle: list[FakeTimer] = []
        self._drawn = 0
        self._limits = limits
        self.now = 0.0
        self.rounds: list[FakeTimer] = []
        self.has_room = True
        self.throttle = ConnectThrottle(
            rate,
            has_room=lambda: self.has_room,
            buffer_bytes=BUFFER_BYTES,
            backpressure=backpressure,
            start_timer=self._start_round,
            clock=lambda: self.now,
        )
        self.claims = FakeClaims()
        self.level = RECOVERY_LEVEL
        self.phantoms: list[tuple[str, bool]] = []
        self.ops: list[tuple[str, Room, bool]] = []
        self.unanswerable: list[tuple[str, int]] = []
        self.asked: list[tuple[int, AskedMany]] = []
        self.touched: set[Room] = set()
        self.hub = Hub(
            counters=self.counters,
            absent=Absent(lambda: 0.0, self.touched),
            touched=self.touched,
            turns=Turns(),
            on_phantom=lambda sid, comes_back: self.phantoms.append((sid, comes_back)),
            on_room_op=lambda sid, room, inside: self.ops.append((sid, room, inside)),
            on_evict=self._evict,
            on_unanswerable=self._note_unanswerable,
            on_asked=lambda request, asked: self.asked.append((request.ack_id, asked)),
            on_canary=self.canaries.append,
            on_room_changed=lambda lane, fact: self.told.append((lane, fact)),
            traces=traces,
        )
        self.newcomers = Newcomers(
            NODE,
            LANES,
            hub=self.hub,
            random_bytes=self._random_bytes,
            recovers=limits.recovery_window_ms > 0,
            clients="known",
            is_offered=lambda: self.level >= RECOVERY_LEVEL,
        )

    def connect(self) -> FakeConnection:
        connection = FakeConnection()
        connection.session = self.session_of(connection)
        return connection

    def session_of(self, connection: Connection) -> ClientSession:
        return ClientSession(
            connection,
            "conn",
            limits=self._limits,
            newcomers=self.newcomers,
            facts=self.uplink,
            throttle=self.throttle,
            claims=self.claims,
            counters=self.counters,
            start_timer=self._start_idle_timer,
            traces=self.traces,
        )

    def receive(self, connection: FakeConnection, *messages: str | bytes) -> None:
        """As the engine does it: a malformed packet closes the connection."""
        assert connection.session is not None
        for message in messages:
            if connection.closed is not None:
                return
            try:
                connection.session.on_message(message)
            except MalformedPacket:
                connection.close(PARSE_ERROR)

    def pending(self, connection: FakeConnection, namespace: str = "/") -> str:
        """Ask to join; the sid of the pending client."""
        self.receive(connection, "0" if namespace == "/" else f"0{namespace},")
        (fact,) = self.uplink.take()
        assert isinstance(fact, ClientConnected)
        return fact.sid

    def _note_unanswerable(self, sid: str, request: AckRequest) -> None:
        self.unanswerable.append((sid, request.ack_id))

    def _evict(self, evict: Evict) -> None:
        self.hub.evict(evict)

    def _start_round(self, delay_s: float, callback: Callable[[], None]) -> "FakeTimer":
        timer = FakeTimer(callback, self.rounds)
        self.rounds.append(timer)
        return timer

    def _start_idle_timer(self, delay_s: float, callback: Callable[[], None]) -> "FakeTimer":
        assert delay_s == self._limits.connect_timeout_s
        timer = FakeTimer(callback, self.idle)
        self.idle.append(timer)
        return timer

    def _random_bytes(self, count: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(count, "big")
