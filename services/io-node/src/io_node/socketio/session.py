"""One connection's Socket.IO session: its clients, one for each namespace. Sans-IO: messages in, facts and packets out.

A client goes through these states:

    CONNECT ──► waiting ──► pending ──Accept──► joined ──► gone
                               └──────Refuse─────────────────┘

- waiting: CONNECT_RATE holds it back, and the application has not heard of it;
- pending: the application was told, and has not answered;
- joined: the client has its CONNECT packet.

What the protocol forbids closes the connection, as in Socket.IO's own server (client.ts, `ondecoded`): a CONNECT to a
namespace that is pending or joined, and any other packet to a namespace that is not joined. There is one exception: a
packet that was on its way while the server disconnected the client from the namespace is dropped and counted, since
the client could not know.
"""

from typing import Protocol, assert_never

import msgspec
import structlog

from io_node.engineio.api import Connection, Outbound
from io_node.socketio.client import Client, SessionLimits
from io_node.socketio.counters import ClientCounters
from io_node.socketio.reader import PacketReader
from io_node.socketio.timer import StartTimer, Timer
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.messages import (
    AckReceived,
    ClientDisconnected,
    ClientUpgraded,
    EventReceived,
    Fact,
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

_TOO_MANY_NAMESPACES = b'{"message":"Too many namespaces"}'


class FactSink(Protocol):
    """The uplink."""

    def put(self, destination: int | str, fact: Fact, sender: Connection) -> None:
        """Pass a fact on to a lane (int) or to an app-node (its id). Never drops; may pause reading from `sender`."""

    def forget(self, sender: Connection) -> None:
        """This connection is closed."""


class Membership(Protocol):
    """The hub."""

    def new_client(self, session: "ClientSession", connect: Connect) -> Client: ...

    def add(self, client: Client) -> None: ...

    def remove(self, client: Client) -> None: ...

    def __contains__(self, sid: str) -> bool: ...


class Throttle(Protocol):
    """Where clients wait until they may be passed on to the application."""

    def enter(self, client: Client) -> None:
        """Calls `client.session.admit(client)`, now or later."""

    def leave(self, client: Client) -> bool:
        """Stop waiting. True if the client was waiting."""


class ClientSession:
    """The `ConnectionHandler` of one connection.

    A connection without any client is closed after `limits.connect_timeout_s`.
    """

    __slots__ = (
        "_clients",
        "_facts",
        "_hub",
        "_idle",
        "_left",
        "_reader",
        "_start_timer",
        "_throttle",
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
        throttle: Throttle,
        counters: ClientCounters,
        start_timer: StartTimer,
    ) -> None:
        """`name` is what the application and the log call the connection: its Engine.IO sid is a secret."""
        self.connection = connection
        self.name = name
        self.limits = limits
        self.counters = counters
        self._hub = hub
        self._facts = facts
        self._throttle = throttle
        self._start_timer = start_timer
        self._reader = PacketReader(limits.max_attachments, limits.max_payload_bytes)
        self._clients: dict[str, Client] = {}
        self._left: dict[str, None] = {}
        self._idle: Timer | None = start_timer(limits.connect_timeout_s, self._close_idle)

    # --- from the connection

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
                continue  # it waits: its ClientConnected is still to come, and will name the new transport
            self.counters.upgraded += 1
            self._facts.put(client.lane, ClientUpgraded(client.sid, transport), self.connection)

    def on_close(self, reason: str) -> None:
        for client in list(self._clients.values()):
            self._remove(client, reason)
        self._stop_idle_timer()
        self._facts.forget(self.connection)

    # --- from the throttle and the hub

    def admit(self, client: Client) -> None:
        """Pass the client on to the application: it is pending from now on."""
        self._hub.add(client)
        self.counters.connected += 1
        if client.connected.transport != self.connection.transport:
            client.connected = msgspec.structs.replace(client.connected, transport=self.connection.transport)
        self._facts.put(client.lane, client.connected, self.connection)

    def refuse(self, client: Client, data: bytes) -> None:
        """Turn a pending client away by a CONNECT_ERROR packet. No fact is put: the application knows."""
        del self._clients[client.namespace]
        self._hub.remove(client)
        self.counters.refused += 1
        self.counters.held_dropped += client.end()
        self._send_control(encode_connect_error(client.namespace, data))
        self._watch_if_idle()

    def disconnect(self, client: Client) -> None:
        """Disconnect the client on behalf of the application, by a DISCONNECT packet."""
        self._send_control(encode_disconnect(client.namespace))
        self._left[client.namespace] = None
        if len(self._left) > _MAX_LEFT:
            del self._left[next(iter(self._left))]
        self.leave(client, reasons.SERVER_DISCONNECT)

    def disconnect_all(self) -> None:
        """Disconnect every client, then close the connection."""
        for client in list(self._clients.values()):
            self.disconnect(client)
        self.connection.close(reasons.SERVER_DISCONNECT)

    def leave(self, client: Client, reason: str) -> None:
        """Take the client out of its namespace. The connection and its other clients stay."""
        self._remove(client, reason)
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
        client = self._hub.new_client(self, packet)
        self._clients[packet.namespace] = client
        self._throttle.enter(client)

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

    def _remove(self, client: Client, reason: str) -> None:
        del self._clients[client.namespace]
        self.counters.held_dropped += client.end()
        if self._throttle.leave(client):
            self.counters.left_waiting += 1
            return  # the application never heard of it
        self._hub.remove(client)
        self.counters.disconnected[reason] += 1
        self._facts.put(client.lane, ClientDisconnected(client.sid, reason), self.connection)

    def _send_control(self, packet: bytes) -> None:
        self.counters.controls += 1
        self.connection.send(Outbound(packet))

    def _watch_if_idle(self) -> None:
        if not self._clients and self._idle is None:
            self._idle = self._start_timer(self.limits.connect_timeout_s, self._close_idle)

    def _stop_idle_timer(self) -> None:
        timer, self._idle = self._idle, None
        if timer is not None:
            timer.cancel()

    def _close_idle(self) -> None:
        self._idle = None
        log.debug("connect_timeout", connection=self.name)
        self.connection.close(reasons.SERVER_DISCONNECT)
