"""What an io-node's ends of the bus count."""

from dataclasses import dataclass


@dataclass(slots=True)
class BusCounters:
    """Since the process started. put = appended + dropped + still waiting."""

    facts_put: int = 0
    facts_appended: int = 0
    facts_dropped: int = 0
    """Answers to an app-node that is gone: the only facts that are ever dropped."""
    batches_appended: int = 0
    batches_repeated: int = 0
    """Batches that Redis already had: the reply to the first try was lost."""
    streams_full: int = 0
    uplink_retries: int = 0
    pauses: int = 0
    """How often reading from a connection was paused."""

    batches_read: int = 0
    commands_read: int = 0
    malformed_batches: int = 0
    downlink_retries: int = 0

    heartbeats: int = 0
    heartbeats_failed: int = 0
    registrations_lost: int = 0
