"""What a bridge counts. For each source: read = delivered + refused + ignored + in work."""

from collections import Counter
from dataclasses import dataclass, field

from app_node.bridge.requests import Source


@dataclass(slots=True)
class BridgeCounters:
    """Plain integers that only grow, but for the last one."""

    read: Counter[Source] = field(default_factory=Counter)
    delivered: Counter[Source] = field(default_factory=Counter)
    refused: Counter[tuple[Source, str]] = field(default_factory=Counter)
    """By source and reason: `requests.Reason`."""
    ignored: Counter[Source] = field(default_factory=Counter)
    """What servers of those libraries tell each other, and nobody means for clients."""
    subscriptions_lost: int = 0
    entries_lost: int = 0
    """Entries of the stream that were trimmed before a bridge had read them."""
    redis_retries: Counter[str] = field(default_factory=Counter)
    behind: int = 0
    """How many entries of the stream wait, as of the last look."""
