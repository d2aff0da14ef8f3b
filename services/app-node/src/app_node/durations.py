"""How long an app-node's part of the way of a message takes. `metrics.py` exports it."""

from collections import defaultdict
from dataclasses import dataclass, field

from sio_cluster.node.monitoring.histogram import Histogram

OTHER = "other"
"""The label of events without a handler of their own: clients give them any names."""


@dataclass(slots=True)
class Durations:
    """Seconds, since this app-node began."""

    lane_wait: Histogram = field(default_factory=Histogram)
    """From Redis taking a lane entry until its facts go to their handlers. Entries of former holders do not count."""
    handlers: defaultdict[str, Histogram] = field(default_factory=lambda: defaultdict(Histogram))
    """Handlers, from beginning to end, by event."""
    outbox_wait: Histogram = field(default_factory=Histogram)
    """From the first command of an inbox entry until Redis has the entry."""
    loop_lag: Histogram = field(default_factory=Histogram)
    """By how much the event loop is late."""
