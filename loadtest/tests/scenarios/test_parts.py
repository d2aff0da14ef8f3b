"""The ramp's steps and the loop's lateness are judged as they were."""

import json
import subprocess
import sys
from typing import Any

import pytest
from loadtest.tests.scenarios.locust_run import ROOT

pytestmark = pytest.mark.slow


def outcome(*words: str) -> Any:
    command = [sys.executable, "-m", "loadtest.tests.scenarios.parts", *words]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=30).stdout)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("nothing", ""),
        ("warm-up", "1 deliveries were lost"),
        ("cut", "1 connections were lost"),
        ("away", "only 19 of 20 clients were there"),
        ("silence", "only 15200 of at least 15642 deliveries came"),
    ],
)
def test_a_step_holds_only_where_nothing_is_missing(wrong: str, why: str) -> None:
    assert outcome("ramp", wrong) == [[True, ""], [not why, why]]


def test_a_stall_counts_for_as_long_as_it_lasts() -> None:
    count, p99_ms = outcome("lag")
    assert count == 2000
    assert p99_ms > 900
