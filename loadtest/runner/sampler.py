"""What the embedded cluster costs: CPU time and memory of its processes, sampled once a second.

The CPU time of a process that was restarted begins at 0 again. What it used before stays counted.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
import psutil

from loadtest.accounting.result import Result
from loadtest.reporting.outcome import PartUse, ServerUse

EVERY_S = 1.0
MOST_SAMPLES = 20_000  # with more, every other one is forgotten, so that a run of days fits into memory


class Sample(msgspec.Struct, frozen=True):
    """`at` is the wall clock in seconds. `cpu_s` is user and system time of each part since sampling began."""

    at: float
    cpu_s: dict[str, float]
    memory_mb: dict[str, float]


_Counts = dict[tuple[int, float], float]
"""CPU time of each process of a part when it was last seen. The key is its id and its start time."""


class Sampler:
    """`pids()` names the parts and their present process ids. 0 means that a part does not run now."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self.samples: list[Sample] = []
        self._pids = pids
        self._counts: dict[str, _Counts] = {}

    async def run(self) -> None:
        """Samples until it is cancelled."""
        while True:
            self.take()
            await asyncio.sleep(EVERY_S - time.time() % EVERY_S)

    def take(self) -> None:
        cpu_s, memory_mb = {}, {}
        for name, pid in self._pids().items():
            counts = self._counts.setdefault(name, {})
            memory_mb[name] = _look(pid, counts) / 1e6
            cpu_s[name] = sum(counts.values())
        self.samples.append(Sample(time.time(), cpu_s, memory_mb))
        if len(self.samples) > MOST_SAMPLES:
            del self.samples[1:-1:2]

    def use(self, begin: float, end: float, deliveries: int) -> ServerUse | None:
        """The use between two moments of the wall clock. None with fewer than two samples in between."""
        inside = [sample for sample in self.samples if begin <= sample.at <= end]
        if len(inside) < 2:
            return None
        first, last = inside[0], inside[-1]
        span_s = last.at - first.at
        parts = []
        for name, cpu_s in last.cpu_s.items():
            used = cpu_s - first.cpu_s.get(name, 0.0)
            memory = max(sample.memory_mb.get(name, 0.0) for sample in inside)
            parts.append(PartUse(name, used, 100 * used / span_s, memory))
        total = sum(part.cpu_s for part in parts)
        # The samples do not cover the whole window, but all seconds of it except a fraction. Their sum is scaled to it.
        whole = total * (end - begin) / span_s
        each = 1e6 * whole / deliveries if deliveries else None
        return ServerUse(parts, total, each, sum(part.memory_mb for part in parts))


def busy_window(result: Result) -> tuple[float, float]:
    """The time from the first delivery to the last, by the wall clock. Without deliveries: the whole run."""
    busy = [second.t for second in result.seconds if second.deliveries]
    if not busy:
        return result.started_at, result.started_at + result.duration_s
    return result.started_at + busy[0], result.started_at + busy[-1] + 1


def _look(pid: int, counts: _Counts) -> int:
    """Notes the CPU time of a process and of all that it started. Returns their resident memory in bytes."""
    if not pid:
        return 0
    memory = 0
    try:
        root = psutil.Process(pid)
        family = [root, *root.children(recursive=True)]
    except psutil.Error:  # it has just ended: its last sample stands
        return 0
    for process in family:
        try:
            times, born = process.cpu_times(), process.create_time()
            memory += process.memory_info().rss
        except psutil.Error:
            continue
        counts[process.pid, born] = times.user + times.system
    return memory
