"""Names of nodes and clients. The known answers are binding: a hash that changes moves clients to other lanes."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sio_cluster.protocol.ids import lane_of, lane_owner, lane_owners, name_of, new_node_id, new_sid, node_of
from sio_cluster.protocol.keys import Keys


def counting(size: int) -> bytes:
    return bytes(range(size))


def test_known_answers() -> None:
    assert new_node_id("io1", counting) == "io1-aaaqea"
    assert new_sid("io1-aaaqea", counting) == "io1-aaaqea.AAECAwQFBgcICQoL"
    sids = [f"io1-aaaqea.{number:016d}" for number in range(8)]
    assert [lane_of(sid, 16) for sid in sids] == [4, 2, 8, 14, 13, 11, 1, 7]
    assert [lane_of(sid, 1000) for sid in sids] == [780, 578, 320, 702, 477, 523, 233, 711]
    apps = ["app-aaaaaa", "app-bbbbbb", "app-cccccc"]
    owners = lane_owners(16, apps)
    assert "".join(owners[lane][4] for lane in range(16)) == "bcabacbaacccbabc"


@given(st.from_regex(r"[a-z0-9]{1,32}", fullmatch=True), st.binary(min_size=17, max_size=17))
def test_a_sid_leads_to_its_node_and_name(name: str, random: bytes) -> None:
    node_id = new_node_id(name, lambda size: random[:size])
    sid = new_sid(node_id, lambda size: random[-size:])
    assert node_of(sid) == node_id
    assert name_of(node_id) == name


@pytest.mark.parametrize("name", ["", "IO1", "io-1", "io.1", "i" * 33, "ö", "io1\n", "io 1"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="32 lower-case letters and digits"):
        new_node_id(name, counting)


@pytest.mark.parametrize(
    "sid",
    [
        "",
        "room",
        "io1-aaaaaa",
        "io1-aaaaaa.",
        "io1-aaaaaa.AAAAAAAAAAAAAAA",
        "io1-aaaaaa.AAAAAAAAAAAAAAAAA",
        "io1-aaaaaa.AAAAAAAAAAAAAAA/",
        "io1-aaaaa1.AAAAAAAAAAAAAAAA",
        "IO1-aaaaaa.AAAAAAAAAAAAAAAA",
        "io1-aaaaaa.AAAAAAAAAAAAAAAA\n",
        "-aaaaaa.AAAAAAAAAAAAAAAA",
    ],
)
def test_sids_that_are_none(sid: str) -> None:
    assert node_of(sid) is None


@pytest.mark.parametrize("node_id", ["", "io1", "io1-aaaaa", "io1-aaaaaa.x", "io1-AAAAAA"])
def test_node_ids_that_are_none(node_id: str) -> None:
    with pytest.raises(ValueError, match="is not a node id"):
        name_of(node_id)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 4096))
def test_a_lane_exists(sid: str, lanes: int) -> None:
    assert 0 <= lane_of(sid, lanes) < lanes


def test_lanes_are_shared_evenly() -> None:
    sids = [f"io1-aaaaaa.{number:016d}" for number in range(16_000)]
    counts = [0] * 16
    for sid in sids:
        counts[lane_of(sid, 16)] += 1
    assert min(counts) > 900
    assert max(counts) < 1100


NODES = st.sets(st.from_regex(r"app[0-9]-[a-z2-7]{6}", fullmatch=True), min_size=1, max_size=9)


@given(NODES, st.integers(1, 99))
def test_lanes_are_divided_evenly_whatever_the_order_of_the_nodes(nodes: set[str], lanes: int) -> None:
    owners = lane_owners(lanes, nodes)
    assert sorted(owners) == list(range(lanes))
    counts = [list(owners.values()).count(node) for node in nodes]
    assert max(counts) - min(counts) <= 1
    assert owners == lane_owners(lanes, sorted(nodes, reverse=True))


@pytest.mark.parametrize("number", [2, 3, 4, 8])
def test_a_change_of_one_node_moves_few_lanes(number: int) -> None:
    """Its own, and on the average at most 4 of 16 more."""
    moved = [0, 0]
    for start in range(100):
        nodes = [f"app{start + place}-aaaaaa" for place in range(number)]
        before, without, with_one = (lane_owners(16, some) for some in (nodes, nodes[1:], [*nodes, "new-aaaaaa"]))
        moved[0] += sum(before[lane] not in (nodes[0], without[lane]) for lane in before)
        moved[1] += sum(with_one[lane] not in ("new-aaaaaa", before[lane]) for lane in before)
    assert max(moved) <= 4 * 100


def test_no_node_no_owner() -> None:
    assert lane_owner(0, []) is None
    assert lane_owners(4, []) == {}


def test_what_is_atomic_shares_a_hash_tag() -> None:
    def tag(key: str) -> str:
        return key[key.index("{") : key.index("}") + 1]

    keys = Keys("sio")
    of_lane = [keys.uplink(3), keys.lease(3), keys.token(3), keys.client(3, "s"), keys.rooms(3, "s"), keys.dead(3)]
    of_lane += [keys.room(3, "/", '"r"'), keys.room(3, "/r", "7")]
    of_node = [keys.inbox("n"), keys.alive("n"), keys.clients("n")]
    for group in (of_lane, of_node):
        assert len({tag(key) for key in [*group, Keys.state(group[0])]}) == 1
    everything = [*of_lane, *of_node, keys.config, keys.io_nodes, keys.app_nodes, keys.epoch, keys.uplink(4)]
    assert len(set(everything)) == len(everything)
    assert all(key.startswith("sio:") for key in everything)


def test_inboxes_are_told_from_lanes() -> None:
    keys = Keys("a:inbox")
    assert [Keys.is_inbox(key) for key in (keys.inbox("n"), keys.uplink(1))] == [True, False]


def test_keys_of_two_clusters_differ() -> None:
    one, other = Keys("a"), Keys("a:b")
    for first, second in itertools.product([one.config, one.uplink(1)], [other.config, other.uplink(1)]):
        assert first != second
