"""What the Socket.IO half of an io-node counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ClientCounters:
    """Since the process started. connected = accepted + refused + disconnected while pending + still pending."""

    connected: int = 0
    """Clients that asked to join a namespace and were passed on to the application."""
    left_waiting: int = 0
    """Clients that asked to join, and left before they were passed on: CONNECT_RATE held them back."""
    upgraded: int = 0
    accepted: int = 0
    refused: int = 0
    disconnected: Counter[str] = field(default_factory=Counter)
    """Clients gone, by reason."""
    phantoms: int = 0
    """Accept commands for clients that are not here: the application was told that they are gone."""
    too_many_namespaces: int = 0

    events: int = 0
    """Events of clients passed on to the application."""
    acks: int = 0
    """Answers of clients passed on to the app-node that asked."""
    unexpected_acks: int = 0
    """Answers of clients that nobody asked for, or that came twice: dropped."""
    forgotten_acks: int = 0
    """Questions given up because their client owes too many answers."""
    late_packets: int = 0
    """Packets under way while the server disconnected their client: dropped."""

    emits: int = 0
    """Emit commands."""
    deliveries: int = 0
    """Messages handed to connections or held for pending clients: one for each member that an Emit reaches."""
    answers: int = 0
    """Ack commands handed to connections."""
    controls: int = 0
    """CONNECT, CONNECT_ERROR and DISCONNECT packets handed to connections."""
    held_dropped: int = 0
    """Held for a client that was refused or left before it was accepted; volatile messages for a pending one."""
    unknown_sid: int = 0
    """Commands for a client that is not here, mostly because it has just left."""
    canaries: int = 0
    """This node's messages to itself, which are no commands of the application."""
