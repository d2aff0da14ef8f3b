"""The bounds of a session, and what all sessions of a node count."""

from collections import Counter
from dataclasses import dataclass, field

from sio_cluster.node.settings.config import Config


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of every session of a node, in seconds and bytes."""

    ping_interval_s: float
    ping_timeout_s: float
    upgrade_timeout_s: float
    allow_upgrades: bool

    @staticmethod
    def of(config: Config) -> "Limits":
        return Limits(
            ping_interval_s=config.ping_interval_ms / 1000,
            ping_timeout_s=config.ping_timeout_ms / 1000,
            upgrade_timeout_s=config.upgrade_timeout_ms / 1000,
            allow_upgrades=config.allow_upgrades and "websocket" in config.transports,
        )


@dataclass(slots=True)
class EngineCounters:
    """Totals since the node started. `opened` = the sum of `closed` + the connections that are open."""

    opened: int = 0
    upgraded: int = 0
    """Connections that moved from polling to WebSocket."""
    written: int = 0
    """Messages handed to a WebSocket or to the answer of a poll."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Messages that were not written, by reason: `volatile`, `slow_consumer` or `connection_closed`.

    All messages sent = `written` + `dropped` + those that wait in the sessions.
    """
    slow_consumers: Counter[str] = field(default_factory=Counter)
    """Connections closed as slow consumers, by reason.

    `stalled`: the client took nothing for PING_TIMEOUT_MS. `buffer_full`: more than DOWNLINK_BUFFER_BYTES waited in the
    node, and most of it for this client.
    """
    malformed: int = 0
    """Connections closed because the client broke a protocol."""
    closed: Counter[str] = field(default_factory=Counter)
    """Connections gone, by reason (`protocol.reasons`)."""
    refused: Counter[str] = field(default_factory=Counter)
    """Requests and upgrades that were refused, by reason."""
