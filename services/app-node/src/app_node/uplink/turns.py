"""Entries that were read and are not taken yet, one of each lane after the other.

A lane with much in it must not keep the others waiting: neither those whose entries were read with it, nor those whose
entries come while it is worked on.
"""

from collections import deque

from app_node.lanes.lane import Lane
from sio_cluster.streams.redis.lanes import LaneEntry


class Turns:
    """Holds what one read of each lane brought. Each entry in here is expected by its lane."""

    def __init__(self) -> None:
        self._entries: dict[int, deque[tuple[Lane, LaneEntry]]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, number: int) -> bool:
        """Whether something of this lane waits."""
        return number in self._entries

    def put(self, lane: Lane, entry: LaneEntry) -> None:
        """Behind what waits of its lane."""
        lane.expect()
        self._entries.setdefault(lane.number, deque()).append((lane, entry))

    def next(self) -> tuple[Lane, LaneEntry]:
        """The first entry of the lane whose turn it is; that lane is the last one then. There must be one."""
        number, waiting = next(iter(self._entries.items()))
        del self._entries[number]
        first = waiting.popleft()
        if waiting:
            self._entries[number] = waiting
        return first
