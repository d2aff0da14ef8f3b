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
    """Runs for ever as a greenlet: sleeps, and notes how much longer than asked it slept.

    During a stall no further wake-up is tried; those left out count as if they had been, each later one waiting less.
    """
    while True:
        began = time.perf_counter()
        gevent.sleep(PAUSE_S)
        note(lag, time.perf_counter() - began - PAUSE_S)


def note(lag: Histogram, late_s: float) -> None:
    """A wake-up that was so late, and those that it kept from being."""
    lag.add_seconds(max(0.0, late_s))
    while (late_s := late_s - PAUSE_S) > 0:
        lag.add_seconds(late_s)
