"""How late the event loop is."""

import asyncio

from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.monitoring.loop_lag import watch_loop_lag


class Lag(Histogram):
    """Says when something was counted."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = asyncio.Event()

    def observe(self, seconds: float) -> None:
        super().observe(seconds)
        self.counted.set()


async def test_a_stall_is_counted_as_long_as_it_was() -> None:
    now, lag = 5.0, Lag()
    task = asyncio.create_task(watch_loop_lag(lag, lambda: now, pause_s=0.01))
    await asyncio.sleep(0)
    now = 5.01 + 0.3  # the clock when the sleep of 10 ms is over
    await asyncio.wait_for(lag.counted.wait(), 5)
    assert (lag.total, round(lag.sum, 6)) == (1, 0.3)
    lag.counted.clear()
    now += 0.01
    await asyncio.wait_for(lag.counted.wait(), 5)
    assert (lag.total, round(lag.sum, 6)) == (2, 0.3)
    task.cancel()
