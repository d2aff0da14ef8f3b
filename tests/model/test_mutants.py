"""The model can fail: each of these defects is found."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test
from tests.model.cluster import SimulatedCluster
from tests.model.machine import ClusterMachine, quiet_logs
from tests.model.mutants import MUTANTS, Mutant, bars_nobody, says_nothing_of_redelivery, swaps_facts
from tests.model.test_model import history_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

HISTORIES = 5000
"""After so many histories a defect counts as not found. Most need fewer than ten, three need hundreds."""


class Found(BaseException):
    """A broken promise. It ends the search at once: Hypothesis replays what is an Exception, to make it shorter."""


@contextmanager
def first_violation_ends_it() -> Iterator[None]:
    def guarded(method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            try:
                return method(*arguments)
            except AssertionError as error:
                raise Found(str(error)) from error

        return run

    with ExitStack() as patches:
        for name in ("run", "heal", "finish"):
            method = getattr(SimulatedCluster, name)
            patches.enter_context(patch.object(SimulatedCluster, name, guarded(method)))
        yield


class LateOutputMachine(ClusterMachine):
    """Histories in which output of a former holder arrives late more often: of pauses, outages and clean stops alone.

    A rule that is None here is none of this machine's.
    """

    connect: Any = None
    leave: Any = None
    kill: Any = None
    change_pace: Any = None


SOON = (says_nothing_of_redelivery, swaps_facts)
"""Defects that show in the first few histories. CI looks for the others; some show in one history of hundreds.

What they take away has tests of its own: services/app-node/tests/test_fencing.py and the contract of the streams.
"""


@pytest.mark.parametrize(
    "mutant",
    [pytest.param(mutant, marks=pytest.mark.ci_only) if mutant not in SOON else mutant for mutant in MUTANTS],
    ids=lambda mutant: mutant.__name__,
)
def test_the_defect_is_found(mutant: Mutant) -> None:
    chosen = history_settings(HISTORIES, phases=[Phase.generate], report_multiple_bugs=False)
    with quiet_logs(), mutant(), first_violation_ends_it(), pytest.raises(Found) as found:
        run_state_machine_as_test(LateOutputMachine if mutant is bars_nobody else ClusterMachine, settings=chosen)
    print(f"{mutant.__name__}: {str(found.value).splitlines()[0]}")
