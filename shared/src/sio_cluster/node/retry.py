"""How long to wait before the next try."""

import random as _random
from collections.abc import Callable


class Backoff:
    """An endless iterator of waits in seconds: exponential, jittered, capped.

    Each wait is drawn from the upper half of its step, so that nodes that lost Redis together do not return together.

        backoff = Backoff()
        while True:
            try:
                return await operation()
            except BusUnavailable:
                await asyncio.sleep(next(backoff))
    """

    __slots__ = ("_cap_ms", "_first_ms", "_random", "_step_ms")

    def __init__(
        self, first_ms: float = 50, cap_ms: float = 2000, random: Callable[[], float] = _random.random
    ) -> None:
        self._first_ms = min(first_ms, cap_ms)
        self._cap_ms = cap_ms
        self._random = random
        self._step_ms = self._first_ms

    def __iter__(self) -> "Backoff":
        return self

    def __next__(self) -> float:
        step = self._step_ms
        self._step_ms = min(step * 2, self._cap_ms)
        return step * (0.5 + 0.5 * self._random()) / 1000

    def reset(self) -> None:
        """Begins anew: call it after a success."""
        self._step_ms = self._first_ms
