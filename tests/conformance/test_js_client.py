"""The official JavaScript client: js/scenarios.mjs runs once against each target, and each scenario is a test here."""

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.conftest import Target
from tests.conftest import ROOT, node

pytestmark = pytest.mark.e2e

SCRIPT = Path(__file__).parent / "js/scenarios.mjs"
LIMIT_S = 240
NAMES = (SCRIPT.parent / "scenarios.txt").read_text().splitlines()
"""Of all scenarios. All workers ask for them when they collect: to start Node each time took a third of a second."""

Outcomes = dict[str, dict[str, Any]]


@cache
def run(url: str) -> Outcomes:
    done = subprocess.run([node(), SCRIPT, url], capture_output=True, text=True, timeout=LIMIT_S, cwd=ROOT, check=False)
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    if done.returncode:
        outcomes.append({"name": "the whole script", "ok": False, "error": done.stderr})
    return {outcome["name"]: outcome for outcome in outcomes}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.timeout(LIMIT_S + 30)
def test_scenario(target: Target, name: str) -> None:
    outcomes = run(target.url)
    assert name in outcomes, outcomes.get("the whole script", {}).get("error", "it did not run")
    assert outcomes[name]["ok"], outcomes[name]["error"]


@pytest.mark.timeout(LIMIT_S + 30)
def test_the_list_has_every_scenario(target: Target) -> None:
    """When you add a scenario, add its name to js/scenarios.txt."""
    assert sorted(run(target.url)) == sorted(NAMES)
