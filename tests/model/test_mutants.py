"""The model can fail: each of these defects is found."""

import pytest
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test
from tests.model.machine import ClusterMachine, quiet_logs
from tests.model.mutants import MUTANTS, Mutant
from tests.model.test_model import history_settings

HISTORIES = 800
"""Most that a defect may need; most need a few."""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_defect_is_found(mutant: Mutant) -> None:
    chosen = history_settings(HISTORIES, phases=[Phase.generate], report_multiple_bugs=False)
    with quiet_logs(), mutant(), pytest.raises(AssertionError) as found:
        run_state_machine_as_test(ClusterMachine, settings=chosen)
    print(f"{mutant.__name__}: {str(found.value).splitlines()[0]}")
