"""When connections broke, and what may be lost by that.

A client that came back with its session was to get all that was said to it meanwhile. What it sent itself right before
a break may not have arrived, whether it came back or not.
"""

from bisect import bisect_left
from collections import defaultdict

from tests.chaos.checker.allowed import Allowed, heard_until
from tests.chaos.records import Records

NEVER = 1 << 62


class Breaks:
    """The connections that broke of each sid. Times are in µs."""

    def __init__(self, records: Records, allowed: Allowed) -> None:
        self._allowed = allowed
        self._broke: dict[str, list[int]] = defaultdict(list)
        for parted in records.parted:
            self._broke[parted.sid].append(parted.at)
        self._back: dict[str, int] = {}
        """When each sid was last given back."""
        for joined in records.joined:
            if joined.recovered:
                self._back[joined.sid] = max(joined.at, self._back.get(joined.sid, 0))

    def heard_until(self, sid: str) -> int:
        """What was said to it before must have come. NEVER: all of it, since no connection broke for good."""
        last = max(self._broke.get(sid, ()), default=NEVER)
        return NEVER if last == NEVER or last < self._back.get(sid, 0) else heard_until(last, self._allowed)

    def may_miss(self, sid: str, at: int) -> bool:
        """Whether what was said to it then may not have come, in a scenario that breaks connections."""
        return self._allowed.breaks and at >= self.heard_until(sid)

    def was_under_way(self, sid: str, sent_at: int) -> bool:
        """Whether what it sent then may not have arrived, since its connection broke, as scenarios do by intent."""
        broke = self._broke.get(sid, [])
        next_one = bisect_left(broke, sent_at)
        if not self._allowed.breaks or next_one == len(broke):
            return False
        return sent_at >= heard_until(broke[next_one], self._allowed)
