"""Pauses of a node's loops, which end together.

    while True:
        await look_once()
        await rest(0.5)

A node in which nothing happens wakes up for its loops alone: some look four times a second, others once. To wake up
costs more than to look. So pauses end at multiples of STEP_S: whoever rests for 0.5 s wakes up together with whoever
rests for 1 s, and what both then ask Redis is asked at the same time.
"""

import asyncio
from typing import Final

STEP_S: Final = 0.25
_NEAR_S: Final = 1e-6


class _Steps:
    """The steps of one event loop, counted from when somebody rested first. Each process begins at another moment, so
    that not all of a machine wake up at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._began_at = loop.time()
        self._step = 0
        self._resting: dict[int, list[asyncio.Future[None]]] = {}
        """Who rests, by the step at which that ends."""

    def next(self, steps: int) -> tuple[int, float]:
        """The next multiple of so many steps, and in how many seconds it is."""
        since_s = self._loop.time() - self._began_at
        self._step = max(self._step, int(since_s / STEP_S))  # a timer may be a little early
        ends = (self._step // steps + 1) * steps
        return ends, ends * STEP_S - since_s

    def ended(self, step: int) -> asyncio.Future[None]:
        """Done at this step."""
        if step not in self._resting:
            self._resting[step] = []
            self._loop.call_at(self._began_at + step * STEP_S, self._end, step)
        ended = self._loop.create_future()
        self._resting[step].append(ended)
        return ended

    def _end(self, step: int) -> None:
        self._step = max(self._step, step)
        for ended in self._resting.pop(step):
            if not ended.done():  # cancelled
                ended.set_result(None)


_steps: dict[asyncio.AbstractEventLoop, _Steps] = {}
"""Of each event loop of this process in which somebody has rested. Who has closed is forgotten when a new one comes."""


async def rest(pause_s: float) -> float:
    """Sleeps for `pause_s` at most: until the next multiple of it. So a loop that rests comes round once in `pause_s`,
    however long its work takes within that time.

    A pause that is no multiple of STEP_S is an ordinary sleep. Returns how many seconds it was to last.
    """
    number = _number(pause_s)
    if not number:
        await asyncio.sleep(pause_s)
        return pause_s
    steps = _of_this_loop()
    step, lasts_s = steps.next(number)
    await steps.ended(step)
    return lasts_s


def left_s(pause_s: float) -> float:
    """How many seconds `rest` would last now, for whoever waits for something else as well."""
    number = _number(pause_s)
    return _of_this_loop().next(number)[1] if number else pause_s


def _number(pause_s: float) -> int:
    """How many steps a pause is. 0 where it is not so many."""
    number = round(pause_s / STEP_S)
    return number if abs(number * STEP_S - pause_s) < _NEAR_S else 0


def _of_this_loop() -> _Steps:
    loop = asyncio.get_running_loop()
    found = _steps.get(loop)
    if found is None:
        for other in list(_steps):
            if other.is_closed():
                _steps.pop(other, None)
        found = _steps[loop] = _Steps(loop)
    return found
