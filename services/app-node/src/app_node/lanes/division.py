"""Who holds which lane, and who works off the quarantines, as every app-node works it out from the registry alone.

The app-nodes that run divide the lanes evenly, by rendezvous hashing (`protocol.ids.lane_owners`). One that drains gets
none.

While a lane has something in its quarantine, one app-node works off all quarantines, and the others divide the lanes
without it: what it handles may end it, and nothing of anybody else is lost then. An app-node that is the only one does
both. Facts wait in the holder of such a lane, so the lane stays where it is, and another app-node is chosen if there is
one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache

from sio_cluster.protocol.figures import WATCHED
from sio_cluster.protocol.ids import lane_owner, lane_owners, quarantine_of
from sio_cluster.protocol.messages import LEVEL

_QUARANTINES = quarantine_of(0)
"""Stands for all quarantines where one app-node is chosen for them."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What an app-node says about itself.

    `draining`: it gives its lanes away. `quarantined`: the lanes that it holds and whose quarantine holds something.
    `alone`: it works off quarantines. `watched`: somebody watches the cluster, as far as it knows.
    """

    draining: bool = False
    quarantined: frozenset[int] = frozenset()
    alone: bool = False
    watched: bool = False

    def encoded(self) -> dict[str, str]:
        """As the registry keeps it: `{"state": "running", "level": "2", "quarantined": "3 7"}`."""
        info = {"state": "draining" if self.draining else "running", "level": str(LEVEL)}
        if self.quarantined:
            info["quarantined"] = " ".join(map(str, sorted(self.quarantined)))
        if self.alone:
            info["alone"] = "yes"
        if self.watched:
            info[WATCHED] = "yes"
        return info

    @classmethod
    def decoded(cls, info: Mapping[str, str]) -> "NodeInfo":
        """What `encoded` wrote."""
        quarantined = frozenset(map(int, info.get("quarantined", "").split()))
        return cls(info.get("state") == "draining", quarantined, "alone" in info, WATCHED in info)


@dataclass(frozen=True, slots=True)
class Share:
    """What one app-node should do: `lanes` to hold, and the lanes whose `quarantines` it works off."""

    lanes: frozenset[int]
    quarantines: frozenset[int]


@lru_cache(maxsize=16)
def _owners(lanes: int, holders: frozenset[str]) -> dict[int, str]:
    """As `lane_owners`. It is asked four times a second, and nodes change seldom."""
    return lane_owners(lanes, holders)


def share_of(
    node_id: str,
    nodes: Mapping[str, Mapping[str, str]],
    lanes: int,
    *,
    quarantined: Collection[int],
    assigned: Collection[int],
) -> Share | None:
    """This app-node's share. None where it takes no part.

    `nodes`: those alive, with what each says about itself. What this one says may be out of date: `quarantined` is what
    it has to say now, and `assigned` are the lanes whose quarantine it works off already.
    """
    infos = {node: NodeInfo.decoded(info) for node, info in nodes.items()}
    if node_id not in infos or infos[node_id].draining:
        return None
    infos[node_id] = NodeInfo(False, frozenset(quarantined), bool(assigned))
    filled = frozenset(assigned).union(*[info.quarantined for info in infos.values()])
    running = {node: info for node, info in infos.items() if not info.draining}
    worker = _worker(running) if filled or any(info.alone for info in running.values()) else None
    holders = {node: info for node, info in running.items() if node != worker} or running
    owners = dict(_owners(lanes, frozenset(holders)))
    for node in sorted(holders):
        owners.update(dict.fromkeys(holders[node].quarantined, node))
    return Share(
        frozenset(lane for lane, owner in owners.items() if owner == node_id),
        filled if worker == node_id else frozenset(),
    )


def _worker(running: Mapping[str, NodeInfo]) -> str | None:
    """One that has nothing waiting for a quarantine. If there are several, one that works off quarantines already."""
    free = [node for node, info in running.items() if not info.quarantined] or list(running)
    return lane_owner(_QUARANTINES, [node for node in free if running[node].alone] or free)
