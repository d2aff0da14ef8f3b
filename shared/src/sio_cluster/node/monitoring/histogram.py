"""How long things take: counts by duration, cheap enough for the way of each message."""

from bisect import bisect_left

BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper bounds of the buckets, in seconds. The same for all, so that the steps of one message can be compared."""


class Histogram:
    """Durations in seconds, counted in buckets. `counts` has one more than there are bounds: what took longer."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_S) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one duration. One below zero, which two clocks may give, counts as zero."""
        if seconds < 0.0:
            seconds = 0.0
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum += seconds

    @property
    def total(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)
