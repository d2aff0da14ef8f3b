"""The metrics that expressions may name, each with its labels."""

from collections.abc import Mapping
from functools import cache

from loadtest.accounting.result import Snapshot
from loadtest.reporting.exposition import exposition
from observe.tests.rule_files import recorded
from prometheus_client.parser import text_string_to_metric_families
from tests.docs.exported import exported_name, families

from sio_cluster.node.monitoring.metrics import HistogramFamily, exposition_of_process

TARGET_LABELS = {"job", "instance"}
"""Prometheus adds them to all that it reads."""


SECOND = Snapshot(1, 100, 20, 4321, 2_500_000, 1.5, 3.0, 8.0, 2)
"""Of a load test."""


@cache
def known() -> Mapping[str, set[str]]:
    """Those of nodes, of every process, of a load test, of Prometheus itself, and what rules record."""
    own: dict[str, set[str]] = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
    for family in families():
        labels = set(family.labels)
        if isinstance(family, HistogramFamily):
            own |= {f"{family.name}_{part}": labels for part in ("sum", "count")}
            own[f"{family.name}_bucket"] = labels | {"le"}
        else:
            own[exported_name(family)] = labels
    for metric in text_string_to_metric_families(exposition_of_process().decode() + exposition(SECOND)):
        own |= {sample.name: set(sample.labels) for sample in metric.samples}
    return own | {name: {"equation"} for name in recorded()}
