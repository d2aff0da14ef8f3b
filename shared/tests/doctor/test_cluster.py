"""Facts of a cluster, and what the doctor finds in them."""

from dataclasses import replace

import pytest

from sio_cluster.doctor.cluster import ClusterFacts, findings
from sio_cluster.doctor.finding import Finding, State
from sio_cluster.protocol.messages import PROTOCOL_VERSION
from sio_cluster.streams.redis.lane_views import LaneView
from sio_cluster.streams.redis.overview import NodeView

LANE = LaneView(0, "app1-aaaaaa", 3, 300, 0, 0.1, 50, 0, 0)
IO = NodeView("io1-aaaaaa", "io-node", "alive", 3, 7, None, release="0.2.0")
APP = NodeView("app1-aaaaaa", "app-node", "alive", 3, None, [0, 1], release="0.2.0")
SOUND = ClusterFacts(2, PROTOCOL_VERSION, True, [IO, APP], [LANE, replace(LANE, lane=1)])


def found(facts: ClusterFacts, check: str, lanes: int = 2, *, lanes_set: bool = True) -> Finding:
    [finding] = [each for each in findings(facts, "sio", lanes, lanes_set=lanes_set) if each.check == check]
    return finding


def test_a_sound_cluster() -> None:
    every = findings(SOUND, "sio", 2, lanes_set=True)
    assert {(finding.state, finding.do) for finding in every} == {("ok", "")}
    assert found(SOUND, "io-nodes").says == "1 alive, with 7 clients"
    assert found(SOUND, "lanes").says == "each of 2 lanes has an app-node"
    assert found(SOUND, "backlog").says == "6 entries wait in all lanes"


def test_no_cluster_yet() -> None:
    [finding] = findings(ClusterFacts(), "sio", 16, lanes_set=False)
    assert (finding.check, finding.state) == ("cluster", "warning")
    assert "REDIS_PREFIX sio" in finding.says


@pytest.mark.parametrize(
    ("facts", "lanes", "lanes_set", "state", "words"),
    [
        (SOUND, 16, True, "problem", "the cluster runs with LANES=2, and LANES is 16 here"),
        (SOUND, 16, False, "warning", "LANES is not set here"),
        (replace(SOUND, version=1), 2, True, "problem", "speaks version 1"),
    ],
)
def test_settings(facts: ClusterFacts, lanes: int, lanes_set: bool, state: State, words: str) -> None:
    finding = found(facts, "settings", lanes, lanes_set=lanes_set)
    assert (finding.state, words in finding.says, bool(finding.do)) == (state, True, True), finding


@pytest.mark.parametrize(
    ("check", "change", "state", "words"),
    [
        ("io-nodes", {"nodes": [APP]}, "problem", "no browser can connect"),
        ("io-nodes", {"nodes": [IO, APP, replace(IO, id="io2-aaaaaa", state="silent")]}, "warning", "io2-aaaaaa"),
        ("io-nodes", {"nodes": [IO, APP, replace(IO, state="parked", level=None)]}, "ok", "1 gone, whose clients may"),
        ("app-nodes", {"nodes": [IO, replace(APP, state="silent")]}, "problem", "events and connects wait"),
        ("app-nodes", {"nodes": [IO, APP, replace(APP, id="app2-aaaaaa", state="silent")]}, "warning", "app2-aaaaaa"),
        ("releases", {"nodes": [IO, replace(APP, level=2)]}, "warning", "levels 2, 3; level 2: app1-aaaaaa"),
        ("releases", {"nodes": [IO, replace(APP, level=2, state="silent")]}, "ok", "release 0.2.0, level 3"),
        (
            "releases",
            {"nodes": [IO, replace(APP, release="0.2.1")]},
            "warning",
            "0.2.0: io1-aaaaaa; 0.2.1: app1-aaaaaa",
        ),
        ("releases", {"nodes": [IO, replace(APP, release=None)]}, "warning", "older: app1-aaaaaa"),
        ("releases", {"nodes": []}, "ok", "there are no nodes"),
        ("releases", {"index_is_exact": False}, "warning", "room index"),
        ("lanes", {"lane_views": [LANE, replace(LANE, lane=1, holder=None)]}, "problem", "1 of 2 lanes"),
        ("backlog", {"lane_views": [LANE, replace(LANE, lane=1, oldest_s=12.3)]}, "warning", "in lane 1, for 12 s"),
        ("quarantine", {"lane_views": [replace(LANE, quarantined=4)]}, "warning", "4 facts are in quarantine"),
        ("dead letters", {"lane_views": [replace(LANE, dead_letters=2)]}, "warning", "2 events were set aside"),
    ],
)
def test_nodes_and_lanes(check: str, change: dict[str, object], state: State, words: str) -> None:
    finding = found(replace(SOUND, **change), check)  # type: ignore[arg-type]  # fields of several types
    assert (finding.state, words in finding.says, bool(finding.do)) == (state, True, state != "ok"), finding


def test_many_names_are_not_all_told() -> None:
    lanes = [replace(LANE, lane=lane, holder=None) for lane in range(100)]
    says = found(replace(SOUND, lanes=100, lane_views=lanes), "lanes").says
    assert "(0, 1, 2, 3, 4, 5, 6, 7 and 92 more)" in says
