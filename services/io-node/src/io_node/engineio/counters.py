"""What the connections of a node count."""

from collections import Counter
from dataclasses import dataclass, field

from sio_cluster.node.monitoring.histogram import Histogram


@dataclass(slots=True)
class EngineCounters:
    """Totals since the node started. `opened` = the sum of `closed` + the connections that are open."""

    opened: int = 0
    upgraded: int = 0
    """Connections that moved from polling to WebSocket."""
    written: int = 0
    """Messages handed to a WebSocket or to the answer of a poll."""
    websocket_sent_bytes: int = 0
    """Bytes of frames that were handed to WebSockets with messages and with packets of the engine."""
    polling_sent_bytes: int = 0
    """Bytes of such payloads that were handed to the answers of polls."""
    websocket_received_bytes: int = 0
    """Bytes that were read from WebSockets, whatever was in them."""
    polling_received_bytes: int = 0
    """Bytes of the bodies of POSTs."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Messages that were not written, by reason: `volatile`, `slow_consumer` or `connection_closed`.

    All messages sent = `written` + `dropped` + those that wait in the sessions.
    """
    round_trips: dict[str, Histogram] = field(
        default_factory=lambda: {"polling": Histogram(), "websocket": Histogram()}
    )
    """From PING to PONG, by transport. A PONG does not count where reading from its client was paused meanwhile."""
    slow_consumers: Counter[str] = field(default_factory=Counter)
    """Connections closed as slow consumers, by reason.

    `stalled`: the client took nothing for PING_TIMEOUT_MS. `buffer_full`: more than DOWNLINK_BUFFER_BYTES waited in the
    node, and most of it for this client. `home_log_full`: it came back, and had not caught up when the log that it
    needs had grown too large.
    """
    malformed: int = 0
    """Connections closed because the client broke a protocol."""
    closed: Counter[str] = field(default_factory=Counter)
    """Connections gone, by reason (`protocol.reasons`)."""
    refused: Counter[str] = field(default_factory=Counter)
    """Requests and upgrades that were refused, by reason."""
