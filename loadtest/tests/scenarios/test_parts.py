"""How the steps of the ramp are judged, how a stall of the loop is counted, and what an early start leads to."""

import json
import subprocess
import sys
from typing import Any

import pytest
from loadtest.tests.scenarios.locust_run import ROOT

pytestmark = pytest.mark.slow


WHY = {
    "nothing": "",
    "warm-up": "1 deliveries were lost",
    "cut": "1 connections were lost",
    "away": "only 19 of 20 clients were there",
    "silence": "only 15200 of at least 15642 deliveries came",
}


@pytest.fixture(scope="module")
def outcomes() -> Any:
    """All of them, from one process: most of its time is the start of locust."""
    command = [sys.executable, "-m", "loadtest.tests.scenarios.parts", *WHY]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=50).stdout
    return json.loads(said.splitlines()[-1])


@pytest.mark.parametrize("wrong", WHY)
def test_a_step_holds_only_where_nothing_is_missing(wrong: str, outcomes: Any) -> None:
    assert outcomes[wrong] == [[True, ""], [not WHY[wrong], WHY[wrong]]]


def test_a_stall_counts_for_as_long_as_it_lasts(outcomes: Any) -> None:
    count, p99_ms = outcomes["lag"]
    assert count == 2000
    assert p99_ms > 900


def test_a_worker_that_is_told_to_start_before_it_is_set_up_takes_no_part(outcomes: Any) -> None:
    """Its users found no session, and the worker ended with an error."""
    assert outcomes["early"] is False


def test_an_attempt_that_a_scenario_cuts_off_is_no_failure(outcomes: Any) -> None:
    """On a busy machine a storm met clients that had not come back from the one before, and locust ended with 1."""
    assert outcomes["attempts"] == {"connect: refused": 1}
