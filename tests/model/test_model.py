"""The lane, lease and takeover protocol under everything that may befall it, in virtual time.

    pytest tests/model                       the same histories each time, some hundreds in CI
    make model                               as many as MODEL_HISTORIES says, others each time
    make model MODEL_SEED=7                  those of that seed again

A history that breaks a promise is printed, made as short as Hypothesis can, with the seed that brings it back.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.model.aimed import LateOutputMachine, QuarantineMachine, RoamingMachine
from tests.model.cluster import SimulatedCluster
from tests.model.machine import ClusterMachine, quiet_logs, same_draws

HISTORIES = int(os.environ.get("MODEL_HISTORIES", "0"))
SEED = os.environ.get("MODEL_SEED")


def history_settings(histories: int, **more: Any) -> settings:
    chosen: dict[str, Any] = {
        "max_examples": histories,
        "stateful_step_count": 30,
        "deadline": None,
        "derandomize": True,
        "database": None,
        "print_blob": True,
        "phases": [Phase.explicit, Phase.generate] + [Phase.shrink] * (os.environ.get("MODEL_SHRINK") != "0"),
        "suppress_health_check": list(HealthCheck),
        "verbosity": Verbosity.normal,
    }
    return settings(**chosen | more)


def test_a_few_histories() -> None:
    with quiet_logs(), same_draws():
        run_state_machine_as_test(ClusterMachine, settings=history_settings(12, stateful_step_count=15))


@pytest.mark.slow
@pytest.mark.timeout(0 if HISTORIES else 400)
def test_histories() -> None:
    explore(ClusterMachine, HISTORIES or 20)


@pytest.mark.slow
@pytest.mark.parametrize(
    "machine",
    [QuarantineMachine, *(pytest.param(m, marks=pytest.mark.ci_only) for m in (LateOutputMachine, RoamingMachine))],
)
@pytest.mark.timeout(0 if HISTORIES else 400)
def test_aimed_histories(machine: type[ClusterMachine]) -> None:
    explore(machine, HISTORIES // 10 or 8)


@pytest.mark.slow
@pytest.mark.ci_only
@pytest.mark.timeout(400)
def test_more_histories() -> None:
    explore(ClusterMachine, 270)


@pytest.mark.slow
@pytest.mark.ci_only
@pytest.mark.parametrize("machine", [LateOutputMachine, QuarantineMachine, RoamingMachine])
@pytest.mark.timeout(400)
def test_more_aimed_histories(machine: type[ClusterMachine]) -> None:
    explore(machine, 15)


def explore(machine: type[ClusterMachine], histories: int) -> None:
    """Explores that many histories: the same each time, unless MODEL_HISTORIES is set."""
    clusters: list[tuple[int, int, int, int]] = []

    class Machine(machine):  # type: ignore[misc, valid-type]  # a class that is given
        def seen(self, cluster: SimulatedCluster) -> None:
            history = cluster.history
            clusters.append((history.handler_starts, history.takeovers, history.later_pages, history.duplicates))

    chosen = history_settings(histories)
    if HISTORIES:
        number = int(SEED) if SEED else int.from_bytes(os.urandom(4))
        print(f"MODEL_SEED={number}")
        Machine = seed(number)(Machine)  # type: ignore[misc]  # Hypothesis marks the class that it is given
        chosen = history_settings(histories, derandomize=False)
    with quiet_logs(), same_draws():
        run_state_machine_as_test(Machine, settings=chosen)
    starts, takeovers, later_pages, duplicates = (sum(column) for column in zip(*clusters, strict=True))
    print(
        f"{len(clusters)} histories, {starts} handler starts, {takeovers} takeovers with {later_pages} later pages, "
        f"{duplicates} repetitions"
    )
    assert takeovers > len(clusters) / 10
    if machine is not RoamingMachine:  # whose clients come and go, and say little
        assert later_pages > len(clusters) / 10
