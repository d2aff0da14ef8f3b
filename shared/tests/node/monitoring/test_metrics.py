import sys

from prometheus_client.parser import text_string_to_metric_families

from sio_cluster.compiled.form import running_form
from sio_cluster.node.monitoring.histogram import BOUNDS_S, Histogram
from sio_cluster.node.monitoring.metrics import (
    Family,
    HistogramFamily,
    exposition,
    exposition_of_process,
    labelled,
)


def test_writes_counters_and_gauges_as_prometheus_reads_them() -> None:
    text = exposition(
        [
            Family("counter", "sio_io_facts_dropped", "Facts dropped", labelled({"b": 2, "a": 1}), ("reason",)),
            Family("gauge", "sio_io_facts_waiting", "Facts that wait", {(): 3}),
        ]
    ).decode()
    assert text == (
        "# HELP sio_io_facts_dropped_total Facts dropped\n"
        "# TYPE sio_io_facts_dropped_total counter\n"
        'sio_io_facts_dropped_total{reason="a"} 1.0\n'
        'sio_io_facts_dropped_total{reason="b"} 2.0\n'
        "# HELP sio_io_facts_waiting Facts that wait\n"
        "# TYPE sio_io_facts_waiting gauge\n"
        "sio_io_facts_waiting 3.0\n"
    )


def test_a_family_without_values_still_says_that_it_exists() -> None:
    assert b"# TYPE sio_x_total counter" in exposition([Family("counter", "sio_x", "x", {}, ("reason",))])


def test_a_histogram_as_prometheus_reads_it() -> None:
    histogram = Histogram()
    for seconds in (0.0004, 0.001, 0.0011, 60.0, -0.002):
        histogram.observe(seconds)
    text = exposition([HistogramFamily("sio_x_seconds", "x", {("pay",): histogram}, ("event",))]).decode()
    [family] = text_string_to_metric_families(text)
    assert (family.name, family.type) == ("sio_x_seconds", "histogram")
    buckets = {one.labels["le"]: one.value for one in family.samples if one.name == "sio_x_seconds_bucket"}
    assert [float(bound) for bound in buckets] == [*BOUNDS_S, float("inf")]
    assert [buckets[bound] for bound in ("0.0005", "0.001", "0.0025", "30.0", "+Inf")] == [2, 3, 4, 4, 5]
    others = {one.name: one.value for one in family.samples if one.labels == {"event": "pay"}}
    assert others == {"sio_x_seconds_count": 5, "sio_x_seconds_sum": 60.0025}
    assert histogram.total == 5


def test_what_is_the_same_for_every_process() -> None:
    families = {family.name: family for family in text_string_to_metric_families(exposition_of_process().decode())}
    [build] = families["sio_build_info"].samples
    assert (build.value, build.labels["python"]) == (1, sys.version.split()[0])
    assert build.labels["version"]
    assert build.labels["compiled"] == ("yes" if running_form().is_compiled else "no")
    assert families["process_resident_memory_bytes"].samples[0].value > 1_000_000
    assert "python_gc_collections" in families
