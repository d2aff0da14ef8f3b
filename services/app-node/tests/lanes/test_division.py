"""Who gets which lanes and quarantines, from what app-nodes say about themselves."""

from collections.abc import Collection, Mapping

import pytest

from app_node.lanes.division import NodeInfo, Share, share_of

LANES = 16
NODES = ("app1-aaaaaa", "app2-bbbbbb", "app3-cccccc")


def shares(infos: Mapping[str, NodeInfo], assigned: Mapping[str, Collection[int]] | None = None) -> dict[str, Share]:
    """The share of each app-node that takes part."""
    nodes = {node: info.encoded() for node, info in infos.items()}
    found = {
        node: share_of(node, nodes, LANES, quarantined=info.quarantined, assigned=(assigned or {}).get(node, ()))
        for node, info in infos.items()
    }
    return {node: share for node, share in found.items() if share is not None}


def workers(found: dict[str, Share]) -> list[str]:
    return [node for node, share in found.items() if share.quarantines]


@pytest.mark.parametrize("info", [NodeInfo(), NodeInfo(True, frozenset({3, 12})), NodeInfo(alone=True)])
def test_what_a_node_says_is_read_back(info: NodeInfo) -> None:
    assert NodeInfo.decoded(info.encoded()) == info


def test_the_lanes_are_divided_among_those_that_do_not_drain() -> None:
    found = shares({NODES[0]: NodeInfo(), NODES[1]: NodeInfo(draining=True), NODES[2]: NodeInfo()})
    assert set(found) == {NODES[0], NODES[2]}
    assert sorted([lane for share in found.values() for lane in share.lanes]) == list(range(LANES))
    assert workers(found) == []


def test_one_works_off_the_quarantines_and_the_others_hold_all_lanes() -> None:
    infos = {NODES[0]: NodeInfo(quarantined=frozenset({5})), NODES[1]: NodeInfo(), NODES[2]: NodeInfo()}
    found = shares(infos)
    [worker] = workers(found)
    assert worker != NODES[0]  # what waits for the quarantine is there
    assert found[worker] == Share(frozenset(), frozenset({5}))
    assert 5 in found[NODES[0]].lanes
    assert sorted([lane for share in found.values() for lane in share.lanes]) == list(range(LANES))


def test_the_worker_stays_while_others_come() -> None:
    for worker in NODES[1:]:
        infos = {node: NodeInfo(alone=node == worker) for node in NODES}
        infos[NODES[0]] = NodeInfo(quarantined=frozenset({5}))
        assert workers(shares(infos, {worker: {5}})) == [worker]


def test_the_worker_goes_on_while_the_lane_has_no_holder() -> None:
    """Else all lanes would move twice."""
    infos = {NODES[0]: NodeInfo(), NODES[1]: NodeInfo(alone=True)}
    found = shares(infos, {NODES[1]: {5}})
    assert found[NODES[1]] == Share(frozenset(), frozenset({5}))
    assert found[NODES[0]].lanes == frozenset(range(LANES))


def test_the_only_one_does_both() -> None:
    found = shares({NODES[0]: NodeInfo(quarantined=frozenset({5}))})
    assert found[NODES[0]] == Share(frozenset(range(LANES)), frozenset({5}))


def test_the_only_one_gives_the_quarantines_to_one_that_comes() -> None:
    infos = {NODES[0]: NodeInfo(quarantined=frozenset({5}), alone=True), NODES[1]: NodeInfo()}
    found = shares(infos, {NODES[0]: {5}})
    assert workers(found) == [NODES[1]]
    assert found[NODES[0]].lanes == frozenset(range(LANES))


def test_where_all_hold_such_lanes_one_gives_its_lanes_away() -> None:
    infos = {NODES[0]: NodeInfo(quarantined=frozenset({5})), NODES[1]: NodeInfo(quarantined=frozenset({6}))}
    found = shares(infos)
    [worker] = workers(found)
    assert found[worker] == Share(frozenset(), frozenset({5, 6}))


def test_a_lane_with_something_in_quarantine_stays_where_it_is() -> None:
    infos = {node: NodeInfo() for node in NODES}
    for lane in range(LANES):
        for holder in NODES:
            found = shares(infos | {holder: NodeInfo(quarantined=frozenset({lane}))})
            assert lane in found[holder].lanes
