"""CPU time and memory of processes: with their children, kept over a restart, scaled to the time of the deliveries."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from loadtest.accounting.result import decode
from loadtest.runner.sampler import MOST_SAMPLES, Sample, Sampler, busy_window

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"


def test_a_parts_children_count_as_its_own():
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        alone, sampler = Sampler(lambda: {"me": os.getpid()}), Sampler(lambda: {"part": process.pid})
        sampler.take()
        alone.take()
        assert sampler.samples[0].memory_mb["part"] > 8
        assert alone.samples[0].memory_mb["me"] > sampler.samples[0].memory_mb["part"] > 0
        process.communicate(b"\n")
    sampler.take()  # it is gone: what it used stays
    assert sampler.samples[1].cpu_s == sampler.samples[0].cpu_s
    assert sampler.samples[1].memory_mb["part"] == 0


def test_the_use_is_that_of_the_window():
    sampler = Sampler(dict)
    sampler.samples = [Sample(float(at), {"io1": at * 0.5, "app1": 7.0}, {"io1": at, "app1": 3.0}) for at in range(10)]
    use = sampler.use(2.0, 6.0, 1000)
    assert use is not None
    assert [(p.name, p.cpu_s, p.cpu_percent, p.memory_mb) for p in use.parts] == [
        ("io1", 2.0, 50.0, 6.0),
        ("app1", 0.0, 0.0, 3.0),
    ]
    assert (use.cpu_s, use.cpu_us_per_delivery) == (2.0, 2000.0)


def test_what_the_samples_miss_of_the_window_is_scaled():
    sampler = Sampler(dict)
    sampler.samples = [Sample(at, {"io1": at}, {"io1": 1.0}) for at in (0.5, 1.5, 2.5)]
    use = sampler.use(0.0, 3.0, 3)
    assert use is not None
    assert use.cpu_us_per_delivery == pytest.approx(1e6)


def test_nothing_delivered_costs_nothing_each():
    sampler = Sampler(dict)
    sampler.samples = [Sample(0.0, {}, {}), Sample(1.0, {}, {})]
    use = sampler.use(0, 1, 0)
    assert use is not None
    assert use.cpu_us_per_delivery is None
    assert sampler.use(5, 9, 1) is None


def test_a_run_of_days_stays_within_memory():
    sampler = Sampler(dict)
    for _ in range(MOST_SAMPLES + 10):
        sampler.take()
    assert len(sampler.samples) < MOST_SAMPLES


def test_the_window_is_that_of_the_deliveries():
    result = decode((Path(__file__).parents[1] / "accounting/sample_result.json").read_bytes())
    begin, end = busy_window(result)
    busy = [second.t for second in result.seconds if second.deliveries]
    assert (begin - result.started_at, end - result.started_at) == (busy[0], busy[-1] + 1)
