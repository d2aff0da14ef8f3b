"""What happened how often: promise 7 asks that nothing is dropped uncounted.

Names are constant. One with a dot is a family and the value of its label: `refused.unknown_client`. Each fact that was
read ends in one of `handled`, `refused` and `abandoned`; `metrics.py` shows them.
"""

from collections import Counter

HANDLED_EVENT = "handled.event"
UNHANDLED_EVENT = "handled.unhandled_event"  # the application has no handler for it
ABANDONED = "abandoned.lane_lost"  # the lane's next holder handles it


class Counters:
    """Counts by name."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        self._counts[name] += number

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def family(self, name: str) -> dict[str, int]:
        """The counts of one family, by the value of its label."""
        start = f"{name}."
        return {key.removeprefix(start): count for key, count in self._counts.items() if key.startswith(start)}

    def snapshot(self) -> dict[str, int]:
        return dict(self._counts)
