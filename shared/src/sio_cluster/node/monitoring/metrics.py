"""Counters in the form that Prometheus reads: what `/metrics` of each node answers.

The counters must balance (promise 7); docs/reliability.md has the equations. They are counted as plain integers where
things happen. This module only writes them out.
"""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import accumulate
from typing import Literal, TypeAlias

from prometheus_client import CollectorRegistry, GCCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client.utils import floatToGoString

from sio_cluster.compiled.form import running_form
from sio_cluster.node.monitoring.histogram import BOUNDS_S, Histogram
from sio_cluster.node.monitoring.process_figures import ProcessFigures

__all__ = ["CONTENT_TYPE", "AnyFamily", "Family", "HistogramFamily", "exposition", "exposition_of_process", "labelled"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `name` of a counter has no `_total`: it is added. `values`: label values -> value."""

    kind: Literal["counter", "gauge"]
    name: str
    help: str
    values: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class HistogramFamily:
    """Durations in seconds. `name` ends with `_seconds`. `values`: label values -> what was counted."""

    name: str
    help: str
    values: Mapping[tuple[str, ...], Histogram]
    labels: tuple[str, ...] = field(default=())


AnyFamily: TypeAlias = Family | HistogramFamily


def labelled(counts: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """Counts by the value of one label, in a constant order."""
    return {(value,): counts[value] for value in sorted(counts)}


def exposition(families: Iterable[AnyFamily]) -> bytes:
    """All of them in Prometheus' text format, version 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(families))
    return generate_latest(registry)


def exposition_of_process() -> bytes:
    """What is the same for every process: which release it runs, its memory, CPU time and files, its collections of
    garbage. In the same format, to be put behind the other metrics."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once([_BUILD]))
    registry.register(_PROCESS)
    GCCollector(registry=registry)
    return generate_latest(registry)


class _Once:
    """A collector for prometheus_client that gives these families."""

    def __init__(self, families: Iterable[AnyFamily]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            if isinstance(family, HistogramFamily):
                yield _histogram(family)
                continue
            kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
            metric = kind(family.name, family.help, labels=family.labels)
            for values, value in family.values.items():
                metric.add_metric(values, value)
            yield metric


def _histogram(family: HistogramFamily) -> Metric:
    metric = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for values, histogram in family.values.items():
        metric.add_metric(values, [*zip(_BOUNDS, accumulate(histogram.counts), strict=True)], histogram.sum)
    return metric


_BUILD = Family(
    "gauge",
    "sio_build_info",
    "1; the labels say which release this is, and whether its hot modules are compiled",
    {(version("sio-cluster-shared"), platform.python_version(), "yes" if running_form().is_compiled else "no"): 1},
    ("version", "python", "compiled"),
)
_PROCESS = ProcessFigures()
_BOUNDS = [*map(floatToGoString, BOUNDS_S), "+Inf"]
