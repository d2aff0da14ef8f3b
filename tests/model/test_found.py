"""Histories that once broke a promise."""

from collections.abc import Iterator

import pytest
from tests.model.cluster import SimulatedCluster
from tests.model.machine import quiet_logs


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    with quiet_logs():
        yield


@pytest.mark.parametrize("seed", range(10))
def test_a_plan_under_way_when_its_node_stops_leaves_no_lease(seed: int) -> None:
    cluster = SimulatedCluster(seed, calm=True)
    for _ in range(3):
        cluster.start_app_node()
    cluster.run(0.3 + seed / 100)
    for node in list(cluster.app_nodes):
        node.stop()
        cluster.run(0.003)
    cluster.start_app_node()
    sid = cluster.connect()
    cluster.run(0.5)
    cluster.event(sid, 0.0)
    cluster.heal()
    cluster.finish()
    cluster.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_lane_that_is_acquired_anew_while_its_handover_waits_is_served(seed: int) -> None:
    cluster = SimulatedCluster(seed)
    first = cluster.start_app_node()
    sids = [cluster.connect() for _ in range(4)]
    cluster.run(0.2)
    for sid in sids:
        cluster.event(sid, "hang")
    cluster.run(0.05)
    second = cluster.start_app_node()
    for _ in range(20):
        cluster.run(0.02)
        if len(first.node.keeper.readable) < len(first.node.keeper.held):  # one of them moves
            break
    cluster.pause(first)
    cluster.kill(second)
    cluster.run(1.05)
    cluster.resume(first)
    for sid in sids:
        cluster.event(sid, 0.0)
    cluster.heal()
    cluster.finish()
    cluster.close()
