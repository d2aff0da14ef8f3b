"""One attempt to connect: how long each of its phases took, and the pause before the next attempt."""

import random
from time import perf_counter

from loadtest.browser.options import ConnectTimes


class Backoff:
    """The pause before the next attempt, as the official client computes it.

    It doubles from `delay_s` up to `max_s`. A random part of up to `factor` of it is added or taken away.
    """

    __slots__ = ("_delay_s", "_factor", "_max_s", "_rng", "attempts")

    def __init__(self, delay_s: float, max_s: float, factor: float, rng: random.Random) -> None:
        self._delay_s = delay_s
        self._max_s = max_s
        self._factor = factor
        self._rng = rng
        self.attempts = 0

    def next_s(self) -> float:
        wait_s = self._delay_s * 2.0 ** min(self.attempts, 60)
        self.attempts += 1
        draw = self._rng.random()  # one number gives the size of the deviation and, by its first decimal, its sign
        deviation = draw * self._factor * wait_s
        wait_s += deviation if int(draw * 10) % 2 else -deviation
        return min(wait_s, self._max_s)

    def reset(self) -> None:
        self.attempts = 0


class AttemptClock:
    """When each phase of one attempt ended; 0.0 where it has not ended."""

    __slots__ = ("joined", "opened", "started", "upgraded")

    def __init__(self) -> None:
        self.started = perf_counter()
        self.opened = 0.0
        self.upgraded = 0.0
        self.joined = 0.0

    def times(self, *, reconnect: bool) -> ConnectTimes:
        return ConnectTimes(
            handshake_s=self.opened - self.started,
            upgrade_s=self.upgraded - self.opened if self.upgraded else None,
            connect_s=self.joined - self.opened,
            total_s=max(self.joined, self.upgraded) - self.started,
            reconnect=reconnect,
        )
