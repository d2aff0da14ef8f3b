"""The model can fail: each of these defects is found, by the rule that it breaks."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase, seed
from hypothesis.stateful import run_state_machine_as_test
from tests.model.aimed import LateOutputMachine, QuarantineMachine, RoamingMachine
from tests.model.cluster import SimulatedCluster
from tests.model.history import History
from tests.model.machine import ClusterMachine, quiet_logs, same_draws
from tests.model.mutants import (
    MUTANTS,
    Mutant,
    bars_nobody,
    believes_a_late_end,
    claims_nothing,
    claims_one_page,
    hands_over_without_waiting,
    holds_nobody_back,
    reads_new_entries_between_the_pages,
    takes_no_leave,
    takes_what_is_held,
)
from tests.model.test_model import history_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

HISTORIES = 500
"""After so many histories a defect counts as not found."""

SEED = 19
"""From which the histories follow. Other seeds find the same defects, some of them after hundreds of histories."""

SEEDS: Mapping[Mutant, int] = {
    believes_a_late_end: 4,
    reads_new_entries_between_the_pages: 5,
}
"""For defects that show from `SEED` only after many histories. All other seeds that were tried find them too."""

AIMED: Mapping[Mutant, type[ClusterMachine]] = {
    bars_nobody: LateOutputMachine,
    holds_nobody_back: QuarantineMachine,
    believes_a_late_end: RoamingMachine,
    takes_no_leave: RoamingMachine,
}
"""Defects that show in one chance history of hundreds. `test_model.py` shows that sound code is clean in these too."""


LATE = {hands_over_without_waiting, takes_what_is_held, claims_nothing, claims_one_page}
"""Defects that take several seconds to find. CI looks for them."""


class Found(BaseException):
    """A broken promise. It ends the search at once: Hypothesis replays what is an Exception, to make it shorter."""


@contextmanager
def ended_only_by(message: str) -> Iterator[None]:
    """A history ends with Found at the first violation that this pattern describes, and goes on after all others."""
    violated = History.violated

    def violated_as_described(history: History, what: str) -> None:
        if re.search(message, what):
            violated(history, what)

    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(cluster: SimulatedCluster, *arguments: Any) -> None:
            try:
                method(cluster, *arguments)
            except AssertionError as error:
                if cluster.history.violations:
                    raise Found(cluster.history.violations[0]) from error

        return run

    with ExitStack() as patches:
        patches.enter_context(patch.object(History, "violated", violated_as_described))
        for name in ("run", "heal", "finish"):
            method = getattr(SimulatedCluster, name)
            patches.enter_context(patch.object(SimulatedCluster, name, guarded(method)))
        yield


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(mutant, id=mutant.__name__, marks=[pytest.mark.ci_only] * (mutant in LATE)) for mutant in MUTANTS],
)
def test_the_defect_is_found(mutant: Mutant) -> None:
    chosen = history_settings(HISTORIES, derandomize=False, phases=[Phase.generate], report_multiple_bugs=False)
    machine = seed(SEEDS.get(mutant, SEED))(type("Machine", (AIMED.get(mutant, ClusterMachine),), {}))
    with quiet_logs(), same_draws(), mutant(), ended_only_by(MUTANTS[mutant]), pytest.raises(Found) as found:
        run_state_machine_as_test(machine, settings=chosen)
    print(f"{mutant.__name__}: {found.value}")
