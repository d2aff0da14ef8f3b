"""Whether the load generator kept up. A generator that is too busy measures its own latency, not the server's."""

from dataclasses import dataclass

from loadtest.accounting.result import Generator, Worker


@dataclass(frozen=True, slots=True)
class GeneratorLimits:
    """Above these a worker is overloaded.

    `cpu_percent`: of one core, the 95th percentile of the seconds with clients. `lag_ms`: how late its loop woke up,
    99th percentile.
    """

    cpu_percent: float = 85.0
    lag_ms: float = 20.0


def judge_generator(workers: list[Worker], limits: GeneratorLimits) -> Generator:
    """Marks the overloaded workers, and says in one sentence whether the generator kept up."""
    for worker in workers:
        worker.overloaded = worker.cpu_percent_p95 > limits.cpu_percent or worker.lag_p99_ms > limits.lag_ms
    busy = [worker for worker in workers if worker.overloaded]
    missing = [worker for worker in workers if worker.missing]
    verdict = "The load generator kept up."
    if busy:
        worst = max(busy, key=lambda worker: (worker.cpu_percent_p95 / limits.cpu_percent, worker.lag_p99_ms))
        verdict = (
            f"The latencies are not the server's: {len(busy)} of {len(workers)} workers of the load generator did not "
            f"keep up ({worst.name}: CPU {worst.cpu_percent_p95:.0f} % at the 95th percentile of seconds, loop late by "
            f"{worst.lag_p99_ms:.1f} ms at the 99th percentile; limits {limits.cpu_percent:g} % and "
            f"{limits.lag_ms:g} ms)."
        )
    if missing:
        verdict += (
            f" {len(missing)} of {len(workers)} workers sent no final report: what their clients got is not known."
        )
    return Generator(
        healthy=not busy and not missing,
        verdict=verdict,
        cpu_limit_percent=limits.cpu_percent,
        lag_limit_ms=limits.lag_ms,
        workers=workers,
    )
