"""What is told of a limit that was missed: who waited, what the machine did, and what nodes logged meanwhile."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from time import sleep, time_ns

import pytest
from tests.chaos import evidence
from tests.chaos.evidence import Machine, Sample, longest_waits, told, watched
from tests.chaos.records import now_us, read

APP = "s 1003000 1 7 1 S 1 0\ne 1003010 1\ns 2950000 2 8 0 T 1 0\ne 2950010 2\n"
CLIENTS = """\
> 1000000 7 1 S
> 1001000 7 2 S
a 1010000 7 1
a 1901000 7 2
> 1000500 8 0 T
a 4000500 8 0
> 1000600 9 0 U
"""
CALM = [Sample(at, 300, 0, 0) for at in range(900_000, 5_000_000, 50_000)]


def wrote(directory: Path) -> Path:
    (directory / "app-50.txt").write_text(APP)
    (directory / "clients-0.txt").write_text(CLIENTS)
    return directory


def line(at_us: int, **what: object) -> str:
    """A log line of that moment of the monotonic clock."""
    moment = datetime.fromtimestamp((time_ns() // 1000 - now_us() + at_us) / 1e6, UTC)
    return json.dumps({"timestamp": moment.isoformat(), "node": "a", "level": "info", **what})


def test_each_client_is_told_by_its_longest_wait(tmp_path: Path) -> None:
    waits = longest_waits(read(wrote(tmp_path)))
    assert [(wait.client, wait.seq, wait.acked - wait.sent) for wait in waits] == [(8, 0, 3_000_000), (7, 2, 900_000)]


def test_what_happened_around_the_longest_wait(tmp_path: Path) -> None:
    machine = Machine()
    machine.samples = [Sample(at, 2_500_000 if at == 2_000_000 else 1_000, at // 2, at // 4) for at, *_ in CALM]
    log = [
        ("app1", line(400_000, event="long before")),
        ("app1", line(1_500_500, event="app_node_stopping", lanes=8)),
        ("app1", "Traceback (most recent call last):"),
        ("io1", line(4_100_000, event="after it")),
    ]
    assert told(read(wrote(tmp_path)), machine, "what took Redis longest: fork 12 ms", log) == [
        "client 8 sent event 0 at +0 ms and waited for 3000 ms; it was begun by process 50 after 1950 ms",
        "client 7 sent event 2 at +0 ms and waited for 900 ms; it was never begun",
        "the test's own loop was late by at most 2500 ms; processes waited for a processor in 50 %, for the disk "
        "in 25 % of the time",
        "what took Redis longest: fork 12 ms",
        "+500 ms app1: event=app_node_stopping lanes=8",
    ]


def test_nothing_is_told_where_nobody_waited(tmp_path: Path) -> None:
    assert told(read(tmp_path), Machine(), "", []) == []


async def test_a_loop_that_stands_still_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "SAMPLE_S", 0.01)
    async with watched() as machine:
        await asyncio.sleep(0.03)
        sleep(0.2)  # noqa: ASYNC251
        await asyncio.sleep(0.03)
    assert any(sample.late > 150_000 for sample in machine.samples)
    assert machine.late_s(0) > 0.15
    assert machine.late_s(machine.samples[-1].at + 1) == 0
    assert all(sample.cpu >= 0 and sample.io >= 0 for sample in machine.samples)


def test_an_unwatched_machine_is_said_to_be() -> None:
    assert Machine().between(0, 1) == "the machine was not watched"
