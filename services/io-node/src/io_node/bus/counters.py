"""What an io-node's ends of the bus count."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class BusCounters:
    """All since the process started. Facts that were put into the uplink = appended + dropped + still waiting."""

    facts_appended: int = 0
    acks_appended: int = 0
    """How many of the facts appended were answers, or said that none will come. They went to an app-node's inbox and
    no lane."""
    facts_dropped: Counter[str] = field(default_factory=Counter)
    """Facts that were given up, by reason. `app_node_gone`: answers to an app-node that is not there any more.
    `misplaced`: what is no answer has no place in an app-node's inbox. That is a defect of this node."""
    batches_appended: int = 0
    """Entries that are in lanes and inboxes. `facts_appended` / `batches_appended` facts share one."""
    batches_repeated: int = 0
    """Batches that Redis already had: the reply to the first try was lost."""
    streams_full: int = 0
    """Appends put off because a lane or an inbox was full."""
    redis_retries: Counter[str] = field(default_factory=Counter)
    """Operations that failed and were tried again, by operation."""
    redis_full: int = 0
    """Writes that Redis refused because it was out of memory. What they carried waits, and is written later."""

    batches_read: int = 0
    """Entries of this node's inbox that were carried out."""
    batches_read_before: int = 0
    """Inbox entries that came a second time, from a Redis that had lost its data. They have no effect."""
    commands_read: int = 0
    malformed_batches: int = 0
    """Inbox entries that could not be decoded."""
    home_logs_loaded: int = 0
    """How often the log of a home was read into memory, from its horizon on."""

    data_lost: int = 0
    """How often Redis had lost its data."""
    declared_lost: int = 0
    """How often the node had been silent for so long that it was buried, and let its clients go."""
