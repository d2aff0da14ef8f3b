"""What the HTTP API counts, besides what its app-node counts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from app_node.api.keys import VERBS
from sio_cluster.node.monitoring.metrics import Family

_FROM_THE_START = [*product((*VERBS, "batch"), ("200", "500", "503")), ("", "400"), ("", "401"), ("", "413")]
"""Verbs and statuses that are there as 0, since `increase` does not see the first value of a series."""


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
        dict(sorted((dict.fromkeys(_FROM_THE_START, 0) | counters.requests).items())),
        ("verb", "status"),
    )
    yield Family("counter", "sio_api_commands", "Commands in requests that were let in", {(): counters.commands})
