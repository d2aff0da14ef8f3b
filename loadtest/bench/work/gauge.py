"""The CPU time that a piece of work took: of the target, and of the load generator."""

import time
from dataclasses import dataclass

from loadtest.bench.targets import Part, Target


@dataclass
class Used:
    """What was used between two moments."""

    seconds: float
    cpu_s: dict[Part, float]
    generator_cpu_s: float

    def cpu_us(self, units: float, name: str = "cpu_us") -> dict[str, float]:
        """Microseconds for one of so many units: of all processes, and of each part by itself (`cpu_us redis`)."""
        each = 1e6 / max(1, units)
        parts = {f"{name} {part}": seconds * each for part, seconds in self.cpu_s.items()}
        return {name: sum(self.cpu_s.values()) * each, **parts}

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
            cpu_s={part: seconds - self._cpu[part] for part, seconds in self._target.cpu_seconds().items()},
            generator_cpu_s=time.process_time() - self._own,
        )


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of them lies. NaN where there is none."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")
