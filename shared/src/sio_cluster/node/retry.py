"""Trying again while Redis is away: written once, for every loop and every call of both services.

    retry = Retry("sessions", counters.redis_retries)
    session = await retry.call(lambda: bus.records.load_session(sid))      # one call, until it works
    await retry.forever(look_once, pause_s=1.0)                            # a loop that never ends

A loop of another shape asks for itself:

    while True:
        try:
            await flush()
        except BusError as error:
            await asyncio.sleep(retry.failed(error))
        else:
            retry.succeeded()
"""

import asyncio
import random as _random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import NoReturn, TypeVar

import structlog

from sio_cluster.node.rest import rest
from sio_cluster.protocol.errors import BusError

log = structlog.get_logger()

STUCK_TRIES = 8
"""After so many failures in a row, which take about 5 s, an operation is stuck."""

_T = TypeVar("_T")


class Backoff:
    """An endless iterator of waits in seconds: each is twice the one before, up to a cap, with jitter.

    Each wait is drawn from the upper half of its step: between 25 and 50 ms first, and between 1 and 2 s at last. So
    nodes that lost Redis together do not come back together.
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
        """Begins again with the first wait: call it after a success."""
        self._step_ms = self._first_ms


class Retry:
    """One kind of operation, tried again for as long as it raises BusError.

    The first failure of an outage is logged as `redis_retry`, the first success after it as `redis_recovered`. Both
    have the field `operation`. Tries in between are counted and not logged. Other exceptions pass through.
    """

    def __init__(self, operation: str, counts: Counter[str], *, cap_ms: float = 2000) -> None:
        """`operation` is a constant. `counts[operation]` is how often it failed, and there from now on. `cap_ms`:
        the longest wait."""
        counts.setdefault(operation, 0)
        self._operation = operation
        self._counts = counts
        self._cap_ms = cap_ms
        self._backoff = Backoff(cap_ms=cap_ms)
        self._failures = 0  # of this outage

    @property
    def stuck(self) -> bool:
        """Whether the operation has failed for so long that this is no short outage."""
        return self._failures >= STUCK_TRIES

    def failed(self, error: BusError) -> float:
        """Counts a failure. Returns how many seconds to wait before the next try."""
        return self._note(error, self._backoff)

    def succeeded(self) -> None:
        """The operation works (again)."""
        if self._failures:
            log.info("redis_recovered", operation=self._operation, failures=self._failures)
            self._failures = 0
            self._backoff.reset()

    async def call(self, once: Callable[[], Awaitable[_T]]) -> _T:
        """The result of `once`, which is tried until it raises no BusError. Calls may overlap."""
        backoff = Backoff(cap_ms=self._cap_ms)
        while True:
            try:
                result = await once()
            except BusError as error:
                await asyncio.sleep(self._note(error, backoff))
            else:
                self.succeeded()
                return result

    async def forever(self, once: Callable[[], Awaitable[None]], pause_s: float = 0) -> NoReturn:
        """Calls `once` again and again: `pause_s` after a success, with backoff after a BusError."""
        while True:
            try:
                await once()
            except BusError as error:
                await asyncio.sleep(self.failed(error))
            else:
                self.succeeded()
                await rest(pause_s)

    def _note(self, error: BusError, backoff: Backoff) -> float:
        self._counts[self._operation] += 1
        self._failures += 1
        if self._failures == 1:
            log.warning("redis_retry", operation=self._operation, error=str(error))
        return next(backoff)
