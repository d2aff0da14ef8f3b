"""How late the event loop is: for so long it did other work when it should have gone on with something."""

from collections.abc import Callable

from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.rest import rest

PAUSE_S = 0.5
"""How often it is measured. A stall is seen if it ends after the time at which a measurement was due."""


async def watch_loop_lag(lag: Histogram, clock: Callable[[], float], pause_s: float = PAUSE_S) -> None:
    """A loop for as long as the node lives: sleeps, and counts how much later than asked it woke. `clock`: seconds."""
    while True:
        began_at = clock()
        meant_s = await rest(pause_s)
        lag.observe(max(0.0, clock() - began_at - meant_s))
