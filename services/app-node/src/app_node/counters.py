"""What happened how often: promise 7 asks that nothing is dropped uncounted."""

from collections import Counter


class Counters:
    """Counts by name, such as `events_handled` or `dropped.unknown_client`. The names are constant."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, name: str, number: int = 1) -> None:
        self._counts[name] += number

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        return dict(self._counts)
