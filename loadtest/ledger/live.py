"""How the run goes at this moment: for a progress line and the web interface. On the master, or the only process."""

import msgspec

from loadtest.ledger.run import Run

PREFIX = "@live "

_run: Run | None = None
_began = 0


class Snapshot(msgspec.Struct, frozen=True):
    """The last second that all workers told of. `lost`: what seems lost so far; the end of the run tells exactly."""

    t: int = 0  # seconds since the start
    clients: int = 0
    emits_per_s: int = 0
    deliveries_per_s: int = 0
    bytes_per_s: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    lost: int = 0


def follow(run: Run, began: int) -> None:
    """From now on, `snapshot` is of this run."""
    global _run, _began
    _run, _began = run, began


def snapshot() -> Snapshot:
    """All 0 before a run."""
    at = _run.last_second() if _run is not None else None
    if _run is None or at is None:
        return Snapshot()
    second = _run.second(at, _began)
    return Snapshot(
        t=second.t,
        clients=second.clients,
        emits_per_s=second.emits,
        deliveries_per_s=second.deliveries,
        bytes_per_s=second.bytes,
        p50_ms=second.p50_ms,
        p95_ms=second.p95_ms,
        p99_ms=second.p99_ms,
        lost=_run.gaps,
    )


def line() -> str:
    """The snapshot as JSON, behind the prefix by which a reader of standard output knows it."""
    return PREFIX + msgspec.json.encode(snapshot()).decode()
