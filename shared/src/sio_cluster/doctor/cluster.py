"""Findings about lanes and nodes. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sio_cluster.doctor.finding import Finding
from sio_cluster.protocol.messages import PROTOCOL_VERSION
from sio_cluster.streams.redis.lane_views import LaneView
from sio_cluster.streams.redis.overview import NodeView

BACKLOG_WARNING_S = 10.0
"""How long an entry may wait in a lane."""
_NAMED = 8


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """What the keys of one prefix say. `lanes`, `version`: None where no node has founded a cluster yet."""

    lanes: int | None = None
    version: int | None = None
    index_is_exact: bool = True
    nodes: Sequence[NodeView] = field(default_factory=list)
    lane_views: Sequence[LaneView] = field(default_factory=list)


def findings(facts: ClusterFacts, prefix: str, lanes: int, *, lanes_set: bool) -> list[Finding]:
    """`lanes`: the setting LANES here. `lanes_set`: whether somebody has set it; else it is the default."""
    if facts.lanes is None:
        says = f"there is no cluster with REDIS_PREFIX {prefix} in this Redis; the first node founds it"
        return [Finding("cluster", "warning", says, "start a node, or mend REDIS_PREFIX or REDIS_URL")]
    return [
        _settings(facts, lanes, lanes_set=lanes_set),
        _io_nodes(facts.nodes),
        _app_nodes(facts.nodes),
        _releases(facts),
        _holders(facts),
        _backlog(facts),
        _quarantines(facts),
        _dead_letters(facts),
    ]


def _settings(facts: ClusterFacts, lanes: int, *, lanes_set: bool) -> Finding:
    check = "settings"
    if facts.version != PROTOCOL_VERSION:
        return Finding(check, "problem", f"the cluster speaks version {facts.version} of the protocol, this release "
                       f"version {PROTOCOL_VERSION}: its nodes cannot join", 'use the release of the cluster, or see '
                       '"Changing LANES or the version of the protocol" in docs/operations.md')  # fmt: skip
    if facts.lanes == lanes:
        return Finding(check, "ok", f"LANES is {lanes}, as in the cluster; the protocol has version {PROTOCOL_VERSION}")
    says = f"the cluster runs with LANES={facts.lanes}"
    do = f"set LANES={facts.lanes} for all nodes"
    if not lanes_set:
        return Finding(check, "warning", f"{says}, and LANES is not set here: a node started with these settings has "
                       f"{lanes}, and ends at its start", do)  # fmt: skip
    return Finding(check, "problem", f"{says}, and LANES is {lanes} here: a node with it ends at its start", do)


def _io_nodes(nodes: Sequence[NodeView]) -> Finding:
    ours = [node for node in nodes if node.kind == "io-node"]
    alive, silent, parked = [[node for node in ours if node.state == state] for state in ("alive", "silent", "parked")]
    check, says = "io-nodes", f"{len(alive)} alive, with {sum(node.clients or 0 for node in alive)} clients"
    if parked:
        says += f"; {len(parked)} gone, whose clients may come back"
    if not alive:
        return Finding(check, "problem", f"{says}: no browser can connect", "start an io-node")
    return _unless_silent(check, says, silent, "their clients are disconnected (node lost) unless they speak again")


def _app_nodes(nodes: Sequence[NodeView]) -> Finding:
    ours = [node for node in nodes if node.kind == "app-node"]
    alive, silent = [[node for node in ours if node.state == state] for state in ("alive", "silent")]
    check, says = "app-nodes", f"{len(alive)} alive"
    if not alive:
        return Finding(check, "problem", f"{says}: events and connects wait",
                       "start an app-node that has handlers")  # fmt: skip
    return _unless_silent(check, says, silent, "another app-node takes their lanes over when their leases run out")


def _unless_silent(check: str, says: str, silent: Sequence[NodeView], follows: str) -> Finding:
    if not silent:
        return Finding(check, "ok", says)
    names = _named([node.id for node in silent])
    return Finding(check, "warning", f"{says}; {len(silent)} silent ({names}): {follows}",
                   "see whether these processes run, and reach Redis")  # fmt: skip


def _releases(facts: ClusterFacts) -> Finding:
    check = "releases"
    levels: dict[int, list[str]] = {}
    releases: dict[str, list[str]] = {}
    for node in facts.nodes:
        if node.level is not None and node.state == "alive":
            levels.setdefault(node.level, []).append(node.id)
            releases.setdefault(node.release or "older", []).append(node.id)
    if len(levels) > 1:
        oldest = min(levels)
        return Finding(check, "warning", f"nodes of different releases run (levels {_named(sorted(levels))}; level "
                       f"{oldest}: {_named(levels[oldest])}): what the oldest does not know is not used",
                       "if no upgrade is under way, replace the oldest")  # fmt: skip
    if not facts.index_is_exact:
        return Finding(check, "warning", "the room index is being built anew, since nodes of an older release ran: "
                       "questions about rooms are refused", "wait some seconds, and look again")  # fmt: skip
    if len(releases) > 1:
        shown = "; ".join(f"{release}: {_named(nodes)}" for release, nodes in sorted(releases.items()))
        return Finding(check, "warning", f"nodes of different releases run ({shown}): what a release has mended, nodes "
                       "of another one may still do", "if no upgrade is under way, replace the oldest")  # fmt: skip
    if not releases:
        return Finding(check, "ok", "there are no nodes")
    return Finding(check, "ok", f"all nodes are of release {_named(list(releases))}, level {_named(list(levels))}")


def _holders(facts: ClusterFacts) -> Finding:
    without = [view.lane for view in facts.lane_views if view.holder is None]
    if not without:
        return Finding("lanes", "ok", f"each of {facts.lanes} lanes has an app-node")
    return Finding(
        "lanes",
        "problem",
        f"{len(without)} of {facts.lanes} lanes have no app-node ({_named(without)}): their clients wait",
        "look again in some seconds: an app-node that starts or takes over needs up to LEASE_MS. If it stays so, start "
        "app-nodes, and look for lane_lost in their logs",
    )


def _backlog(facts: ClusterFacts) -> Finding:
    oldest = max(facts.lane_views, key=lambda view: view.oldest_s)
    says = f"{sum(view.entries for view in facts.lane_views)} entries wait in all lanes"
    if oldest.oldest_s <= BACKLOG_WARNING_S:
        return Finding("backlog", "ok", says)
    return Finding("backlog", "warning", f"{says}; the oldest, in lane {oldest.lane}, for {oldest.oldest_s:.0f} s: "
                   "answers are late", "start more app-nodes, or find the handler that is slow or hangs "
                   '("By symptom" in docs/operations.md)')  # fmt: skip


def _quarantines(facts: ClusterFacts) -> Finding:
    held = [view.lane for view in facts.lane_views if view.quarantined]
    if not held:
        return Finding("quarantine", "ok", "nothing is in quarantine")
    number = sum(view.quarantined for view in facts.lane_views)
    return Finding("quarantine", "warning", f"{number} facts are in quarantine (lanes {_named(held)}): two app-nodes "
                   "ended with them in work", "look for facts_quarantined in the logs of app-nodes, and for their "
                   "exit status")  # fmt: skip


def _dead_letters(facts: ClusterFacts) -> Finding:
    held = [view.lane for view in facts.lane_views if view.dead_letters]
    if not held:
        return Finding("dead letters", "ok", "there are none")
    number = sum(view.dead_letters for view in facts.lane_views)
    return Finding("dead letters", "warning", f"{number} events were set aside (lanes {_named(held)}): they are not "
                   "handled", "look at them by `sio-cluster dead-letters list`, then put them back or delete "
                   "them")  # fmt: skip


def _named(names: Sequence[object]) -> str:
    """The first of these, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(str, names[:_NAMED])) + more
