"""How late the event loop is: for so long it did other work when it should have gone on with something."""

import asyncio
from collections.abc import Callable

from sio_cluster.node.monitoring.histogram import Histogram

PAUSE_S = 0.25
"""How often it is measured. A stall is seen if it ends after the time at which a measurement was due."""


async def watch_loop_lag(lag: Histogram, clock: Callable[[], float], pause_s: float = PAUSE_S) -> None:
    """A loop for as long as the node lives: sleeps, and counts how much later than asked it woke. `clock`: seconds."""
    while True:
        due = clock() + pause_s
        await asyncio.sleep(pause_s)
        lag.observe(clock() - due)
