"""One connection's Socket.IO session: its namespaces, pending or joined. Sans-IO: messages in, facts and packets out.

    CONNECT ──► waiting ──► pending ──Accept──► joined ──► gone
                               └──────Refuse─────────────────┘

Invalid states close the connection as Socket.IO's own server does (client.ts, `ondecoded`): CONNECT to a namespace
that is pending or joined, anything else to one that is not joined. One exception: what was under way from the client
while the server disconnected it from a namespace is dropped and counted, since the client could not know.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, assert_never

import msgspec
import structlog

from io_node.engineio.api import Connection, Outbound
from io_node.socketio.counters import ClientCounters
from io_node.socketio.packets import (
    Ack,
    Connect,
    Disconnect,
    Event,
    PacketReader,
    encode_connect_error,
    encode_connected,
    encode_disconnect,
)
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.messages import (
    AckReceived,
    AckRequest,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    EventReceived,
    Fact,
    Room,
)

log = structlog.get_logger()

_MAX_PENDING_ACKS = 1_000
"""Answers that one client may owe; the oldest question is given up, counted."""

_MAX_LEFT = 16
"""Namespaces that the server disconnected, of which late packets are forgiven; the oldest is forgotten."""

_TOO_MANY_NAMESPACES = b'{"message":"Too many namespaces"}'


class IdleTimer(Protocol):
    def cancel(self) -> None: ...


StartIdleTimer: TypeAlias = Callable[[Callable[[], None]], IdleTimer]
"""Calls back after CONNECT_TIMEOUT_MS, unless cancelled."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    max_namespaces: int
    max_attachments: int
    max_payload_bytes: int
    send_buffer_bytes: int


class FactSink(Protocol):
    def put(self, destination: int | str, fact: Fact, sender: Connection) -> None:
        """Pass a fact on to a lane (int) or to an app-node (its id). Never drops; may pause reading from `sender`."""

    def forget(self, sender: Connection) -> None:
        """This connection is closed."""


class Membership(Protocol):
    """The hub, as a session sees it."""

    def new_client(self, session: "ClientSession", connect: Connect) -> "Client": ...

    def add(self, client: "Client") -> None: ...

    def remove(self, client: "Client") -> None: ...

    def __contains__(self, sid: str) -> bool: ...


class Waiting(Protocol):
    """Where clients wait until they may be passed on to the application."""

    def enter(self, client: "Client") -> None:
        """`client.session.admit(client)` is called now or later."""

    def leave(self, client: "Client") -> bool:
        """Whether the client was still waiting; now it is not."""


class Client:
    """One client: a connection's membership of one namespace.

    `send` writes to the connection once the client is joined; until then it holds messages back, at most
    SEND_BUFFER_BYTES of them: beyond that the connection is closed as a slow consumer.
    """

    __slots__ = ("_held", "_held_bytes", "acks", "connected", "joined", "lane", "rooms", "send", "session", "sid")

    def __init__(self, session: "ClientSession", connected: ClientConnected, lane: int) -> None:
        self.sid = connected.sid
        self.lane = lane
        self.session = session
        self.connected = connected
        self.joined = False
        self.rooms: set[Room] = set()
        self.acks: dict[int, str] | None = None
        self.send: Callable[[Outbound], None] = self._hold
        self._held: list[Outbound] = []
        self._held_bytes = 0

    @property
    def namespace(self) -> str:
        return self.connected.namespace

    @property
    def held(self) -> int:
        """Messages held back until the client is accepted."""
        return len(self._held)

    def accept(self) -> None:
        """Write the CONNECT packet, then what was held."""
        self.joined = True
        self.send = self.session.connection.send
        self.session.counters.controls += 1
        self.send(Outbound(encode_connected(self.namespace, self.sid)))
        held, self._held = self._held, []
        for message in held:
            self.send(message)

    def drop_held(self) -> int:
        """Forget what was held. Returns how many messages that were."""
        dropped, self._held = len(self._held), []
        return dropped

    def expect_ack(self, request: AckRequest) -> bool:
        """Remember who wants the answer. False if an older question had to be given up."""
        if self.acks is None:
            self.acks = {}
        self.acks[request.ack_id] = request.app_node
        if len(self.acks) <= _MAX_PENDING_ACKS:
            return True
        del self.acks[next(iter(self.acks))]
        return False

    def _hold(self, message: Outbound) -> None:
        if message.volatile or self._held_bytes > self.session.limits.send_buffer_bytes:  # it closes already
            self.session.counters.held_dropped += 1
            return
        self._held.append(message)
        self._held_bytes += message.size
        if self._held_bytes > self.session.limits.send_buffer_bytes:
            self.session.connection.close(reasons.SLOW_CONSUMER)


class ClientSession:
    """The `ConnectionHandler` of one connection.

    A connection that is in no namespace and waits for none is closed after CONNECT_TIMEOUT_MS.
    """

    __slots__ = (
        "_clients",
        "_facts",
        "_hub",
        "_idle",
        "_left",
        "_reader",
        "_start_idle_timer",
        "_waiting",
        "connection",
        "counters",
        "limits",
        "name",
    )

    def __init__(
        self,
        connection: Connection,
        name: str,
        *,
        limits: SessionLimits,
        hub: Membership,
        facts: FactSink,
        waiting: Waiting,
        counters: ClientCounters,
        start_idle_timer: StartIdleTimer,
    ) -> None:
        self.connection = connection
        self.name = name
        self.limits = limits
        self.counters = counters
        self._hub = hub
        self._facts = facts
        self._waiting = waiting
        self._start_idle_timer = start_idle_timer
        self._reader = PacketReader(limits.max_attachments, limits.max_payload_bytes)
        self._clients: dict[str, Client] = {}
        self._left: dict[str, None] = {}
        self._idle: IdleTimer | None = start_idle_timer(self._close_idle)

    def on_message(self, data: str | bytes) -> None:
        """Raises MalformedPacket, after which the connection must close."""
        packet = self._reader.feed(data)
        match packet:
            case None:
                return
            case Event():
                client = self._joined(packet.namespace)
                if client is not None:
                    self.counters.events += 1
                    fact = EventReceived(client.sid, packet.ack_id, packet.data, packet.attachments)
                    self._facts.put(client.lane, fact, self.connection)
            case Ack():
                self._on_ack(packet)
            case Connect():
                self._on_connect(packet)
            case Disconnect():
                client = self._joined(packet.namespace)
                if client is not None:
                    self.leave(client, reasons.CLIENT_DISCONNECT)
            case _:
                assert_never(packet)

    def on_upgrade(self, transport: str) -> None:
        for client in self._clients.values():
            if client.sid not in self._hub:
                continue  # its ClientConnected is still to come, and will say so
            self.counters.upgraded += 1
            self._facts.put(client.lane, ClientUpgraded(client.sid, transport), self.connection)

    def on_close(self, reason: str) -> None:
        for client in list(self._clients.values()):
            self._remove(client, reason)
        self._stop_idle_timer()
        self._facts.forget(self.connection)

    def admit(self, client: Client) -> None:
        """Pass the client on to the application: it is pending from now on."""
        self._hub.add(client)
        self.counters.connected += 1
        if client.connected.transport != self.connection.transport:
            client.connected = msgspec.structs.replace(client.connected, transport=self.connection.transport)
        self._facts.put(client.lane, client.connected, self.connection)

    def leave(self, client: Client, reason: str) -> None:
        """Take the client out of its namespace; the connection and its other namespaces stay."""
        self._remove(client, reason)
        self._watch_if_idle()

    def disconnect(self, client: Client) -> None:
        """Disconnect the client on behalf of the application, by a DISCONNECT packet."""
        self._send_control(encode_disconnect(client.namespace))
        self._left[client.namespace] = None
        if len(self._left) > _MAX_LEFT:
            del self._left[next(iter(self._left))]
        self.leave(client, reasons.SERVER_DISCONNECT)

    def refuse(self, client: Client, data: bytes) -> None:
        """Turn a pending client away by a CONNECT_ERROR packet. No fact: the application knows."""
        del self._clients[client.namespace]
        self._hub.remove(client)
        self.counters.refused += 1
        self.counters.held_dropped += client.drop_held()
        self._send_control(encode_connect_error(client.namespace, data))
        self._watch_if_idle()

    def disconnect_all(self) -> None:
        """Disconnect from every namespace, then close the connection."""
        for client in list(self._clients.values()):
            self.disconnect(client)
        self.connection.close(reasons.SERVER_DISCONNECT)

    def _on_connect(self, packet: Connect) -> None:
        if packet.namespace in self._clients:
            raise MalformedPacket("CONNECT to a namespace that is pending or joined")
        if len(self._clients) >= self.limits.max_namespaces:
            self.counters.too_many_namespaces += 1
            self._send_control(encode_connect_error(packet.namespace, _TOO_MANY_NAMESPACES))
            return
        self._stop_idle_timer()
        self._left.pop(packet.namespace, None)
        client = self._hub.new_client(self, packet)
        self._clients[packet.namespace] = client
        self._waiting.enter(client)

    def _on_ack(self, packet: Ack) -> None:
        client = self._joined(packet.namespace)
        if client is None:
            return
        app_node = client.acks.pop(packet.ack_id, None) if client.acks else None
        if app_node is None:
            self.counters.unexpected_acks += 1
            return
        self.counters.acks += 1
        fact = AckReceived(client.sid, packet.ack_id, packet.data, packet.attachments)
        self._facts.put(app_node, fact, self.connection)

    def _joined(self, namespace: str) -> Client | None:
        """The client in this namespace; None where the packet is late, and counted so."""
        client = self._clients.get(namespace)
        if client is not None and client.joined:
            return client
        if client is None and namespace in self._left:
            self.counters.late_packets += 1
            return None
        raise MalformedPacket("packet to a namespace that is not joined")

    def _remove(self, client: Client, reason: str) -> None:
        del self._clients[client.namespace]
        if self._waiting.leave(client):
            self.counters.left_waiting += 1
            return  # the application never heard of it
        self._hub.remove(client)
        self.counters.disconnected[reason] += 1
        self.counters.held_dropped += client.drop_held()
        self._facts.put(client.lane, ClientDisconnected(client.sid, reason), self.connection)

    def _send_control(self, packet: bytes) -> None:
        self.counters.controls += 1
        self.connection.send(Outbound(packet))

    def _watch_if_idle(self) -> None:
        if not self._clients and self._idle is None:
            self._idle = self._start_idle_timer(self._close_idle)

    def _stop_idle_timer(self) -> None:
        timer, self._idle = self._idle, None
        if timer is not None:
            timer.cancel()

    def _close_idle(self) -> None:
        self._idle = None
        log.debug("connect_timeout", connection=self.name)
        self.connection.close(reasons.SERVER_DISCONNECT)
