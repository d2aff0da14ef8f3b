"""CPU time and memory of processes, sampled once a second: what the embedded cluster costs.

A process that was started again begins its CPU time at nought; what its former self used stays counted.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec
import psutil

EVERY_S = 1.0
MOST_SAMPLES = 20_000  # then every other one is forgotten, so that a run of days stays within memory


class Sample(msgspec.Struct, frozen=True):
    """`at`: wall clock in seconds. `cpu_s`: user and system time of each part since sampling began."""

    at: float
    cpu_s: dict[str, float]
    memory_mb: dict[str, float]


class PartUse(msgspec.Struct, frozen=True):
    """What one part used in a span of time."""

    name: str
    cpu_s: float
    cpu_percent: float
    memory_mb: float  # the most of any sample; resident


class ServerUse(msgspec.Struct, frozen=True):
    """All parts together. `cpu_us_per_delivery` is None where nothing was delivered."""

    parts: list[PartUse]
    cpu_s: float
    cpu_us_per_delivery: float | None
    memory_mb: float


# CPU time of each process of a part, as last seen; a process is its id and its birth
_Counts = dict[tuple[int, float], float]


class Sampler:
    """`pids()` names the parts and their process ids as they are now; 0 is one that does not run."""

    def __init__(self, pids: Callable[[], Mapping[str, int]]) -> None:
        self.samples: list[Sample] = []
        self._pids = pids
        self._counts: dict[str, _Counts] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
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
        """Between two moments of the wall clock; None with fewer than two samples in between."""
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
        # The samples do not cover the window to the last fraction of a second: what they saw is scaled to it.
        whole = total * (end - begin) / span_s
        each = 1e6 * whole / deliveries if deliveries else None
        return ServerUse(parts, total, each, sum(part.memory_mb for part in parts))


def _look(pid: int, counts: _Counts) -> int:
    """Notes the CPU time of a process and of what it has started; returns their resident memory in bytes."""
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
