"""This process and its machine: which clock it has, how busy it is, how late its loop wakes up."""

import socket
import time
from pathlib import Path

import gevent
import psutil

from loadtest.ledger.histogram import Histogram

PAUSE_S = 0.05


def machine_id() -> str:
    """The same for all processes that share a clock: containers on one host, too."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:  # not Linux
        return socket.gethostname()


class Load:
    """CPU time of this process. Reads /proc, so it never waits."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._process.cpu_percent(None)

    def cpu_percent(self) -> float:
        """Of one core, since it was last asked."""
        return float(self._process.cpu_percent(None))


def watch_lag(lag: Histogram) -> None:
    """Runs for ever as a greenlet: sleeps, and notes how much longer than asked it slept."""
    while True:
        began = time.perf_counter()
        gevent.sleep(PAUSE_S)
        lag.add_seconds(max(0.0, time.perf_counter() - began - PAUSE_S))
