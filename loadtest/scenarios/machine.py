"""This process and its machine: which clock it uses, how much CPU it takes, how late its loop wakes up."""

import socket
import time
from pathlib import Path

import gevent
import psutil

from loadtest.accounting.histogram import Histogram

PAUSE_S = 0.05


def machine_id() -> str:
    """An id that is the same for all processes that share a clock, containers on one host included."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:  # not Linux
        return socket.gethostname()


class Load:
    """CPU time of this process. It reads /proc and never blocks."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent(None)

    def cpu_percent(self) -> float:
        """Percent of one core since the last call."""
        return float(self._process.cpu_percent(None))


def watch_lag(lag: Histogram) -> None:
    """Runs as a greenlet until it is killed: sleeps 50 ms, and notes how much longer than that it took to wake up."""
    while True:
        began = time.perf_counter()
        gevent.sleep(PAUSE_S)
        note(lag, time.perf_counter() - began - PAUSE_S)


def note(lag: Histogram, late_s: float) -> None:
    """Notes a wake-up that was `late_s` late, and those that would have come meanwhile.

    Example: after a stall of 2 s it notes 2.00, 1.95, 1.90 ... s, so that a long stall weighs as long as it lasted.
    """
    lag.add_seconds(max(0.0, late_s))
    while (late_s := late_s - PAUSE_S) > 0:
        lag.add_seconds(late_s)
