"""How long an io-node's part of the way of a message takes. `metrics.py` exports it."""

from dataclasses import dataclass, field

from sio_cluster.node.monitoring.histogram import Histogram


@dataclass(slots=True)
class Durations:
    """Seconds, since this io-node began."""

    uplink_wait: Histogram = field(default_factory=Histogram)
    """From the first fact of an entry until Redis has the entry."""
    inbox_wait: Histogram = field(default_factory=Histogram)
    """From Redis taking an entry of this node's inbox until its commands are carried out."""
    fan_out: Histogram = field(default_factory=Histogram)
    """Carrying out the commands of one inbox entry."""
    loop_lag: Histogram = field(default_factory=Histogram)
    """By how much the event loop is late."""
