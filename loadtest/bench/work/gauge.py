"""The CPU time that a piece of work took: of the target, and of the load generator."""

import time
from dataclasses import dataclass

from loadtest.bench.targets import Target


@dataclass
class Used:
    """What was used between two moments."""

    seconds: float
    cpu_s: float
    generator_cpu_s: float

    @property
    def generator_share(self) -> float:
        """How busy the load generator was, from 0 to 1. Near 1 it is what limits throughput and latency."""
        return self.generator_cpu_s / max(self.seconds, 1e-9)


class Gauge:
    """Counts from when it is made."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._cpu = target.cpu_seconds()
        self._own = time.process_time()
        self._began = time.perf_counter()

    def read(self) -> Used:
        """What was used so far."""
        return Used(
            seconds=time.perf_counter() - self._began,
            cpu_s=self._target.cpu_seconds() - self._cpu,
            generator_cpu_s=time.process_time() - self._own,
        )


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies. NaN where there is none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")
