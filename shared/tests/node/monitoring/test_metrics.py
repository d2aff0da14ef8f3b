from sio_cluster.node.monitoring.metrics import Family, exposition, labelled


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
