"""The figures of a process, beside those of the library that all others use."""

import os
import sys
import time

import pytest
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from sio_cluster.node.monitoring.process_figures import ProcessFigures, open_files

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells all of them")

NEARLY = {"process_open_fds": 3, "process_cpu_seconds_total": 0.1, "process_resident_memory_bytes": 20e6}
"""By how much the two may differ: one is asked after the other, and counts the file by which it asks."""


def figures(collector: object) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(collector)  # type: ignore[arg-type]
    text = generate_latest(registry).decode()
    return {one.name: one.value for family in text_string_to_metric_families(text) for one in family.samples}


def test_they_are_those_of_the_library() -> None:
    theirs, ours = figures(ProcessCollector(registry=None)), figures(ProcessFigures())
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=NEARLY.get(name, 1e6 if "bytes" in name else 0.1))


@pytest.mark.parametrize("tells", [True, False], ids=["tells the number", "lists them"])
def test_each_open_file_counts(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    if not tells:  # as Linux before 6.2
        monkeypatch.setattr(os, "stat", lambda path: os.stat_result([0] * 10))
    before = open_files()
    files = [os.dup(0) for _ in range(100)]
    try:
        assert open_files() == before + 100
    finally:
        for file in files:
            os.close(file)


def test_many_open_files_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.stat("/proc/self/fd").st_size:
        pytest.skip("this Linux does not tell the number of open files")

    def never(path: object) -> list[str]:
        raise AssertionError("all files are listed")

    monkeypatch.setattr(os, "listdir", never)
    assert figures(ProcessFigures())["process_open_fds"] > 0


def test_cpu_time_goes_on() -> None:
    before = figures(ProcessFigures())["process_cpu_seconds_total"]
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    assert figures(ProcessFigures())["process_cpu_seconds_total"] >= before + 0.05
