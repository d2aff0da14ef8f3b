"""What the Socket.IO half of an io-node counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ClientCounters:
    """All since the process started.

    These balance: connected = accepted + refused + clients that left while pending + clients that are pending now.
    """

    connected: int = 0
    """Clients that asked to join a namespace and were passed on to the application."""
    left_waiting: int = 0
    """Clients that left while CONNECT_RATE held them back. The application never heard of them."""
    upgraded: int = 0
    """Clients whose connection moved to WebSocket."""
    accepted: int = 0
    """Clients that the application let in."""
    recovered: int = 0
    """How many of those had claimed their session back."""
    replayed: int = 0
    """Messages that they had missed, and were given."""
    claims_refused: Counter[str] = field(default_factory=Counter)
    """Clients that showed a pid and became new clients all the same, by reason."""
    claims_left: int = 0
    """Clients that left while their claim was looked at."""
    evicted: int = 0
    """Connections closed because their client had come back on another one."""
    refused: int = 0
    """Clients that the application turned away."""
    rooms_changed: int = 0
    """Rooms that clients entered or left, and that the holders of their lanes were told of."""
    disconnected: Counter[str] = field(default_factory=Counter)
    """Clients gone, by reason."""
    phantoms: int = 0
    """Accept commands for clients that are not here: the application was told that they are gone."""
    too_many_namespaces: int = 0
    """CONNECTs refused because their connection has MAX_NAMESPACES clients."""

    events: int = 0
    """Events of clients passed on to the application."""
    acks_received: int = 0
    """Answers of clients passed on to the app-node that asked."""
    unexpected_acks: int = 0
    """Answers of clients that nobody asked for, or that came twice. They are dropped."""
    acks_missed: int = 0
    """Questions of which their app-node was told that no answer will come: the client they were for is gone."""
    asked_many: int = 0
    """Messages to app-nodes about whom their questions to many clients have reached."""
    forgotten_acks: int = 0
    """Questions given up because their client owes too many answers."""
    late_packets: int = 0
    """Packets that were on their way while the server disconnected their client. They are dropped."""

    emits: int = 0
    """Emit commands."""
    emit_deliveries: int = 0
    """Messages handed to connections or held for pending clients: one for each member that an Emit reaches."""
    acks_sent: int = 0
    """Ack commands handed to connections: the application's answers to events of clients."""
    controls: int = 0
    """CONNECT, CONNECT_ERROR and DISCONNECT packets handed to connections."""
    held_dropped: int = 0
    """Messages for a pending client that it never got: it was refused or left, or the message was volatile."""
    unknown_sid: int = 0
    """Commands for a client that is not here, mostly because it has just left."""
    canaries: int = 0
    """This node's messages to itself. They are not commands of the application."""
