"""Redis' clock as one node knows it: the id of a stream entry begins with the time at which Redis took it.

With each heartbeat Redis says its time. So how long an entry waited is known without comparing the clocks of two
machines that write and read it.
"""

from collections.abc import Callable

_EXACT_S = 0.05
"""A question that took longer than this tells too little about Redis' clock, if a better one is known."""


class RedisClock:
    """Tells how old entries are. `clock` gives this node's seconds, from any beginning."""

    __slots__ = ("_ahead_s", "clock")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._ahead_s: float | None = None

    def heard(self, redis_s: float, asked_at: float) -> None:
        """Redis has just answered that its time is `redis_s`, to a question of `asked_at` by this node's clock."""
        now = self.clock()
        if self._ahead_s is None or now - asked_at <= _EXACT_S:
            self._ahead_s = redis_s - (asked_at + now) / 2

    def age_of(self, entry_id: bytes) -> float | None:
        """Seconds since Redis took this entry, to about a millisecond. None before the first heartbeat.

        May be slightly below zero.
        """
        if self._ahead_s is None:
            return None
        return self.clock() + self._ahead_s - int(entry_id[: entry_id.index(b"-")]) / 1000
