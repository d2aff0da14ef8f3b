"""Measures for how long the event loop of a process is held up. Runs inside the processes that are measured."""

import asyncio
import time

STEP_S = 0.005
LONG_MS = 50.0
"""A turn that is longer than this is counted: whoever is connected would notice it."""


class LoopWatch:
    """Looks every 5 ms how late it is. To be made in the event loop that it watches.

    A turn of the event loop cannot be seen from inside. But a timer that is due comes in the first turn that begins
    then. So the time between two looks is that of the longest turn between them, and up to 5 ms more. It is taken
    twice: by the clock, and as CPU time of this thread. By the clock a turn is also long where other processes had the
    core.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.begin()
        self._look()

    def begin(self) -> None:
        """Forgets what was."""
        self._now_s, self._cpu_s = time.perf_counter(), time.thread_time()
        self._longest_s = self._longest_cpu_s = 0.0
        self._long = self._long_cpu = 0

    def read(self) -> dict[str, float]:
        """Since `begin`: the longest turn in milliseconds, by the clock and of CPU, and how many were long."""
        return {
            "longest_ms": self._longest_s * 1e3,
            "longest_cpu_ms": self._longest_cpu_s * 1e3,
            "long": self._long,
            "long_cpu": self._long_cpu,
        }

    def _look(self) -> None:
        now_s, cpu_s = time.perf_counter(), time.thread_time()
        took_s, used_s = max(0.0, now_s - self._now_s - STEP_S), cpu_s - self._cpu_s
        self._longest_s = max(self._longest_s, took_s)
        self._longest_cpu_s = max(self._longest_cpu_s, used_s)
        self._long += took_s * 1e3 > LONG_MS
        self._long_cpu += used_s * 1e3 > LONG_MS
        self._now_s, self._cpu_s = now_s, cpu_s
        self._loop.call_later(STEP_S, self._look)
