"""Arrivals of an open loop: events come when they come, however long the answers take."""

import asyncio
import random
import time
from collections.abc import Callable

SEED = 1


async def arrivals(per_second: float, seconds: float, send: Callable[[int, float], None]) -> int:
    """Calls `send(number, due)` at the times of a Poisson process with that rate, and returns how many there were.

    `due` is the time (perf_counter) at which it should have been called. The loop's timers are coarse, so a call may
    come a millisecond late: who measures from `due` counts that as waiting, for every target alike. The same seed gives
    each target the same arrivals.
    """
    chance = random.Random(SEED)
    began = due = time.perf_counter()
    number = 0
    while True:
        due += chance.expovariate(per_second)
        if due > began + seconds:
            return number
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        elif number % 100 == 99:
            await asyncio.sleep(0)  # behind: let the answers in
        send(number, due)
        number += 1
