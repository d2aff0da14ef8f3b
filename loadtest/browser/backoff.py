"""How long to wait before the next attempt, as the official client computes it."""

import random


class Backoff:
    """Doubles from `delay_s`; jitter takes away or adds up to `factor` of it; never more than `max_s`."""

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
        draw = self._rng.random()  # one draw decides how far and, by its first decimal, to which side
        deviation = draw * self._factor * wait_s
        wait_s += deviation if int(draw * 10) % 2 else -deviation
        return min(wait_s, self._max_s)

    def reset(self) -> None:
        self.attempts = 0
