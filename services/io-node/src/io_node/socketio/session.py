"""One connection's Socket.IO session: its clients, one for each namespace. Sans-IO: messages in, facts and packets out.

A client goes through these states:

    CONNECT ──► waiting ──► claiming ──► pending ──Accept──► joined ──► gone
                   └────────────────────────┘└──────Refuse─────────────────┘

- waiting: CONNECT_RATE holds it back, and the application has not heard of it;
- claiming: it showed the pid of a session, and that is looked at (`Claims`). The application has not heard of it;
- pending: the application was told, and has not answered;
- joined: the client has its CONNECT packet.

What the protocol forbids closes the connection, as in Socket.IO's own server (client.ts, `ondecoded`): a CONNECT to a
namespace that is pending or joined, and any other packet to a namespace that is not joined. There is one exception: a
packet that was on its way while the server disconnected the client from the namespace is dropped and counted, since
the client could not know.
"""

from typing import assert_never

import structlog

from io_node.engineio.api import Connection, Outbound
from io_node.socketio.capability import RECOVERABLE
from io_node.socketio.catching_up import CatchingUp
from io_node.socketio.client import Client, SessionLimits
from io_node.socketio.counters import ClientCounters
from io_node.socketio.reader import PacketReader
from io_node.socketio.surroundings import Claims, FactSink, NewClients, Throttle
from io_node.socketio.timer import StartTimer, Timer
from io_node.tracing import Traces
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.messages import (
    AckReceived,
    ClientDisconnected,
    ClientUpgraded,
    EventReceived,
    TraceContext,
)
from sio_cluster.protocol.socketio import (
    Ack,
    Connect,
    Disconnect,
    Event,
    encode_connect_error,
    encode_disconnect,
)

log = structlog.get_logger()

_MAX_LEFT = 16
"""How many namespaces that the server ended are remembered, so that late packets to them are forgiven."""

_REJECTED = b'{"message":"Connection rejected by server"}'
_TOO_MANY_NAMESPACES = b'{"message":"Too many namespaces"}'


class ClientSession:
    """The `ConnectionHandler` of one connection.

    A connection without any client is closed after `limits.connect_timeout_s`.
    """

    __slots__ = (
        "_behind",
        "_claims",
        "_clients",
        "_closing",
        "_facts",
        "_idle",
        "_left",
        "_newcomers",
        "_reader",
        "_start_timer",
        "_throttle",
        "_traces",
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
        newcomers: NewClients,
        facts: FactSink,
        throttle: Throttle,
        claims: Claims,
        counters: ClientCounters,
        start_timer: StartTimer,
        traces: Traces | None = None,
    ) -> None:
        """`name` is what the application and the log call the connection: its Engine.IO sid is a secret."""
        self.connection = connection
        self.name = name
        self.limits = limits
        self.counters = counters
        self._newcomers = newcomers
        self._facts = facts
        self._throttle = throttle
        self._claims = claims
        self._start_timer = start_timer
        self._traces = traces
        self._reader = PacketReader(limits.max_attachments, limits.max_payload_bytes)
        self._clients: dict[str, Client] = {}
        self._left: dict[str, None] = {}
        self._behind: tuple[CatchingUp, ...] = ()  # what clients that have left still get
        self._closing = False
        self._idle: Timer | None = start_timer(limits.connect_timeout_s, self._close_idle)

    # --- from the connection

    def on_message(self, data: str | bytes) -> None:
        """Raises MalformedPacket, after which the connection must close."""
        if self._closing:
            return
        packet = self._reader.feed(data)
        match packet:
            case None:
                return
            case Event():
                client = self._joined(packet.namespace)
                if client is not None:
                    self.counters.events += 1
                    trace = None if self._traces is None else self._trace(client, packet)
                    fact = EventReceived(client.sid, packet.ack_id, packet.data, packet.attachments, trace)
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
            if client.sid not in client.hub:
                continue  # it waits or claims: its ClientConnected is still to come, and will name the new transport
            self.counters.upgraded += 1
            self._facts.put(client.lane, ClientUpgraded(client.sid, transport, client.generation), self.connection)

    def on_close(self, reason: str) -> None:
        for client in list(self._clients.values()):
            self._remove(client, reason, comes_back=reason in RECOVERABLE)
        for rest in self._behind:
            self.counters.held_dropped += rest.end()
        self._behind = ()
        self._stop_idle_timer()
        self._facts.forget(self.connection)

    # --- from the throttle, the claims and the hub

    def admit(self, client: Client) -> None:
        """Its turn has come: pass it on, or have its claim looked at first."""
        if client.asked is None:
            self.pass_on(client)
        else:
            self._claims.begin(client)

    def pass_on(self, client: Client) -> None:
        """Pass the client on to the application: it is pending from now on."""
        client.asked = None
        client.hub.add(client)
        self.counters.connected += 1
        self._facts.put(client.lane, client.introduced(self.connection.transport), self.connection)

    def refuse(self, client: Client, data: bytes) -> None:
        """Turn a pending client away by a CONNECT_ERROR packet. No fact is put: the application knows."""
        del self._clients[client.namespace]
        client.hub.remove(client)
        self.counters.refused += 1
        self.counters.held_dropped += client.end()
        self._send_control(encode_connect_error(client.namespace, data))
        self._watch_if_idle()

    def disconnect(self, client: Client) -> None:
        """Disconnect the client on behalf of the application, by a DISCONNECT packet.

        One that is not let in yet gets a CONNECT_ERROR packet: it waits for the answer to its CONNECT.
        """
        if client.joined:
            packet = encode_disconnect(client.namespace)
        else:
            packet = encode_connect_error(client.namespace, _REJECTED)
        rest = client.part()
        if rest is None:
            self._send_control(packet)
        else:
            self._leave_behind(rest, packet)
        self._left[client.namespace] = None
        if len(self._left) > _MAX_LEFT:
            del self._left[next(iter(self._left))]
        self.leave(client, reasons.SERVER_DISCONNECT)

    def disconnect_all(self) -> None:
        """Disconnect every client, then close the connection."""
        for client in list(self._clients.values()):
            self.disconnect(client)
        self._closing = True
        self._close_if_over()

    def evict(self) -> None:
        """A client has come back on another connection: close this one, with all its clients, at once."""
        self.counters.evicted += 1
        self.connection.fail(reasons.TRANSPORT_CLOSE)

    def leave(self, client: Client, reason: str) -> None:
        """Take the client out of its namespace. The connection and its other clients stay."""
        self._remove(client, reason, comes_back=False)
        self._watch_if_idle()

    # --- inside

    def _on_connect(self, packet: Connect) -> None:
        if packet.namespace in self._clients:
            raise MalformedPacket("CONNECT to a namespace that is pending or joined")
        if len(self._clients) >= self.limits.max_namespaces:
            self.counters.too_many_namespaces += 1
            self._send_control(encode_connect_error(packet.namespace, _TOO_MANY_NAMESPACES))
            return
        self._stop_idle_timer()
        self._left.pop(packet.namespace, None)
        client = self._newcomers.new_client(self, packet)
        self._clients[packet.namespace] = client
        self._throttle.enter(client)

    def _trace(self, client: Client, event: Event) -> TraceContext | None:
        assert self._traces is not None
        headers = client.connected.handshake.headers
        return self._traces.receive(client.sid, client.namespace, client.lane, event.data, headers)

    def _on_ack(self, packet: Ack) -> None:
        client = self._joined(packet.namespace)
        if client is None:
            return
        app_node = client.answered(packet.ack_id)
        if app_node is None:
            self.counters.unexpected_acks += 1
            return
        self.counters.acks_received += 1
        fact = AckReceived(client.sid, packet.ack_id, packet.data, packet.attachments)
        self._facts.put(app_node, fact, self.connection)

    def _joined(self, namespace: str) -> Client | None:
        """The client of this namespace. None for a late packet, which is counted."""
        client = self._clients.get(namespace)
        if client is not None and client.joined:
            return client
        if client is None and namespace in self._left:
            self.counters.late_packets += 1
            return None
        raise MalformedPacket("packet to a namespace that is not joined")

    def _remove(self, client: Client, reason: str, *, comes_back: bool) -> None:
        """Forget the client. `comes_back`: nobody wanted its end, so it may claim its session back."""
        del self._clients[client.namespace]
        self.counters.held_dropped += client.end()
        if self._throttle.leave(client):
            self.counters.left_waiting += 1
            return  # the application never heard of it
        if self._claims.leave(client, reason):
            self.counters.claims_left += 1
            return
        keep_ms = self.limits.recovery_window_ms if client.may_come_back and comes_back else 0
        client.hub.remove(client, comes_back=keep_ms > 0)
        self.counters.disconnected[reason] += 1
        if client.may_come_back and not keep_ms:
            self._facts.renounce(client.sid, client.generation)
        fact = ClientDisconnected(client.sid, reason, client.generation, keep_ms)
        self._facts.put(client.lane, fact, self.connection)

    def _send_control(self, packet: bytes) -> None:
        self.counters.controls += 1
        self.connection.send(Outbound(packet))

    def _leave_behind(self, rest: CatchingUp, farewell: bytes) -> None:
        """A client has left that was catching up. It still gets what was said to it before, and then this packet."""

        def part() -> None:
            self._behind = tuple(other for other in self._behind if other is not rest)
            self._send_control(farewell)
            self._watch_if_idle()
            self._close_if_over()

        self._behind = (*self._behind, rest)
        rest.finish(part)

    def _close_if_over(self) -> None:
        if self._closing and not self._behind:
            self.connection.close(reasons.SERVER_DISCONNECT)

    def _watch_if_idle(self) -> None:
        if not self._clients and not self._behind and self._idle is None:
            self._idle = self._start_timer(self.limits.connect_timeout_s, self._close_idle)

    def _stop_idle_timer(self) -> None:
        timer, self._idle = self._idle, None
        if timer is not None:
            timer.cancel()

    def _close_idle(self) -> None:
        self._idle = None
        log.debug("connect_timeout", connection=self.name)
        self.connection.close(reasons.SERVER_DISCONNECT)
