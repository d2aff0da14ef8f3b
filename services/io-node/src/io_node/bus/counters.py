"""What an io-node's ends of the bus count."""

from dataclasses import dataclass


@dataclass(slots=True)
class BusCounters:
    """Since the process started. put = appended + dropped + still waiting."""

    facts_put: int = 0
    facts_appended: int = 0
    acks_appended: int = 0
    """Of these, answers that went to an app-node's inbox instead of a lane."""
    facts_dropped: int = 0
    """Answers to an app-node that is gone: the only facts that are ever dropped."""
    batches_appended: int = 0
    batches_repeated: int = 0
    """Batches that Redis already had: the reply to the first try was lost."""
    streams_full: int = 0
    uplink_retries: int = 0
    redis_full: int = 0
    """Writes that Redis refused for want of memory; what they carried waits, and is written later."""
    pauses: int = 0
    """How often reading from a connection was paused."""

    batches_read: int = 0
    batches_read_before: int = 0
    """Entries that were appended anew to a Redis that had lost its data; they have no effect."""
    commands_read: int = 0
    malformed_batches: int = 0
    downlink_retries: int = 0

    heartbeats: int = 0
    heartbeats_failed: int = 0
    registrations_lost: int = 0
    """How often the node found itself unknown: Redis lost its data, or the node had been silent for too long."""
    data_lost: int = 0
    """How often Redis had lost its data."""
    declared_lost: int = 0
    """How often the node had been silent for so long that it was buried, and let its clients go."""
