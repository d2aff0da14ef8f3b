"""A run's figures under the names that `loadtest/thresholds.toml` uses. None: this run did not measure that."""

from loadtest.ledger.result import Quantiles, Result
from loadtest.runner.sampler import ServerUse


def figures(result: Result, server: ServerUse | None) -> dict[str, float | None]:
    """One for each limit that there is."""
    integrity, totals, workers = result.integrity, result.totals, result.generator.workers
    not_excused = integrity.due + integrity.uncertain
    acks = [quantiles for quantiles in result.acks.values() if quantiles.count]
    return {
        "unanswered": None if result.losses_allowed else sum(result.unanswered.values()),
        "disconnects": None if result.losses_allowed else result.disconnects_unasked,
        "absent": result.absent,
        "lost": None if result.losses_allowed else integrity.lost,
        "duplicated": integrity.duplicated,
        "reordered": integrity.reordered,
        "misdelivered": integrity.misdelivered,
        "unknown": integrity.unknown,
        "uncertain_percent": 100 * integrity.uncertain / not_excused if not_excused else None,
        "latency_p50_ms": _measured(result.latency, result.latency.p50_ms),
        "latency_p99_ms": _measured(result.latency, result.latency.p99_ms),
        "ack_p99_ms": max((quantiles.p99_ms for quantiles in acks), default=None),
        "connect_p99_ms": _measured(result.connects.total, result.connects.total.p99_ms),
        "failed_connects": sum(result.connects.failed.values()),
        "server_cpu_us_per_delivery": server.cpu_us_per_delivery if server else None,
        "server_memory_mb": server.memory_mb if server else None,
        "overloaded_workers": sum(worker.overloaded for worker in workers),
        "missing_workers": sum(worker.missing for worker in workers),
        "clients": totals.clients_max,
        "deliveries_per_s": totals.deliveries_per_s,
        "acks": sum(quantiles.count for quantiles in acks),
        "knee_rate": (result.knee.rate or 0.0) if result.knee else None,
    }


def busy_window(result: Result) -> tuple[float, float]:
    """From the first delivery to the last, by the wall clock and to the second; without any, the whole run."""
    busy = [second.t for second in result.seconds if second.deliveries]
    if not busy:
        return result.started_at, result.started_at + result.duration_s
    return result.started_at + busy[0], result.started_at + busy[-1] + 1


def _measured(quantiles: Quantiles, value: float) -> float | None:
    return value if quantiles.count else None
