"""What the HTTP API counts, besides what its app-node counts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from sio_cluster.node.monitoring.metrics import Family


@dataclass(slots=True)
class ApiCounters:
    """Plain integers, counted where things happen."""

    requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests answered, by verb and status."""
    commands: int = 0
    """Commands in them: a batch has several."""


def families(counters: ApiCounters) -> Iterator[Family]:
    """All metrics of the API."""
    yield Family(
        "counter",
        "sio_api_requests",
        "Requests answered, by what they asked for and the HTTP status",
        dict(sorted(counters.requests.items())),
        ("verb", "status"),
    )
    yield Family("counter", "sio_api_commands", "Commands in requests that were let in", {(): counters.commands})
