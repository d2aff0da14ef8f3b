"""Counters in the form that Prometheus reads: what `/metrics` of each node answers.

The counters must balance (promise 7); docs/reliability.md has the equations. They are counted as plain integers where
things happen. This module only writes them out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "Family", "exposition", "labelled"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` of a counter has no `_total`: it is added. `values`: label values -> value."""

    kind: Literal["counter", "gauge"]
    name: str
    help: str
    values: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = field(default=())


def labelled(counts: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """Counts by the value of one label, in a constant order."""
    return {(value,): counts[value] for value in sorted(counts)}


def exposition(families: Iterable[Family]) -> bytes:
    """All of them in Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    return generate_latest(registry)


class _Once:
    """A collector for prometheus_client that gives these families."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for values, value in family.values.items():
                metric.add_metric(values, value)
            yield metric
