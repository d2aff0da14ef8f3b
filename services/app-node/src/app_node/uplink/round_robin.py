"""Entries that were read and wait for their turn. The lanes take turns: one entry of each, then again from the first.

So a lane with a long backlog does not keep the others waiting: neither those whose entries were read with it, nor those
whose entries come while it is worked on.
"""

from collections import deque

from app_node.lanes.lane import Lane
from sio_cluster.streams.api.lanes import LaneEntry


class RoundRobin:
    """Holds what one read of each lane brought. A lane is not idle while one of its entries is in here."""

    def __init__(self) -> None:
        self._entries: dict[int, deque[tuple[Lane, LaneEntry]]] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def __contains__(self, number: int) -> bool:
        """Whether something of this lane waits."""
        return number in self._entries

    def put(self, lane: Lane, entry: LaneEntry) -> None:
        """Adds an entry behind those of its lane."""
        lane.expect()
        self._entries.setdefault(lane.number, deque()).append((lane, entry))

    def next(self) -> tuple[Lane, LaneEntry]:
        """Takes the first entry of the lane whose turn it is. That lane's next turn comes after all others'.

        Raises StopIteration where nothing waits.
        """

        number, waiting = next(iter(self._entries.items()))
        del self._entries[number]
        first = waiting.popleft()
        if waiting:
            self._entries[number] = waiting
        return first
