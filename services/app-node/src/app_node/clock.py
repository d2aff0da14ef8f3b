"""Time, as leases need it. Parts get a `Clock` as an argument, so that tests can step it."""

import sys
import time
from collections.abc import Callable
from functools import partial

Clock = Callable[[], float]
"""Seconds of a clock that never goes back. Only differences mean something."""

if sys.platform == "linux":
    steady: Clock = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    """Goes on while the machine is suspended, as a lease in Redis does. `time.monotonic` would stand still."""
else:
    steady: Clock = time.monotonic
