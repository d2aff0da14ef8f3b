"""How many entries one read may bring of each lane, so that it brings about as many bytes as may be in work.

Redis bounds a read by the number of entries alone, and an entry may have fifty bytes or a megabyte. So after a time in
which nothing was read, and much may have come, a read brings one entry of each lane. Those after it bring up to twice
as many as the one before. None brings more than fit, if all are as large as the largest one that came last.
"""

from collections.abc import Sequence

from sio_cluster.streams.api.lanes import LaneEntry

MOST_ENTRIES = 32
"""How many entries one read brings of each lane, at most."""


class Portion:
    """The size of the next read. `max_bytes`: what it should bring at most, of all lanes together."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._most = 1
        self._largest_bytes = 1

    def entries(self, lanes: int) -> int:
        """How many entries of each of so many lanes to ask for: one at least."""
        return max(1, min(self._most, self._max_bytes // (self._largest_bytes * lanes)))

    def came(self, entries: Sequence[LaneEntry]) -> None:
        """A read has brought these."""
        self._most = min(2 * self._most, MOST_ENTRIES)
        if entries:
            self._largest_bytes = max(len(entry.entry) for entry in entries)

    def begin_small(self) -> None:
        """Nothing was read for a while."""
        self._most = 1
