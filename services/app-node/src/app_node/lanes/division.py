"""Who holds which lane, and who works off which quarantine, as every app-node works it out from the registry alone.

The app-nodes that run divide the lanes by rendezvous hashing (`protocol.ids.lane_owner`). One that drains gets none.

While a lane has something in its quarantine, one app-node works off all quarantines, and the others divide the lanes
without it: what it handles may end it, and nothing else of anybody is lost then. The holder of a lane says in the
registry that its quarantine holds something. An app-node that is the only one does both.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sio_cluster.protocol.ids import lane_owner, quarantine_of

_QUARANTINES = quarantine_of(0)
"""Stands for all quarantines where one app-node is chosen for them."""


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What an app-node says about itself. `draining`: it gives its lanes away. `quarantined`: lanes whose quarantine
    holds something."""

    draining: bool = False
    quarantined: frozenset[int] = frozenset()

    def encoded(self) -> dict[str, str]:
        """As the registry keeps it: `{"state": "running", "quarantined": "3 7"}`."""
        info = {"state": "draining" if self.draining else "running"}
        if self.quarantined:
            info["quarantined"] = " ".join(map(str, sorted(self.quarantined)))
        return info

    @classmethod
    def decoded(cls, info: Mapping[str, str]) -> "NodeInfo":
        """What `encoded` wrote."""
        return cls(info.get("state") == "draining", frozenset(map(int, info.get("quarantined", "").split())))


@dataclass(frozen=True, slots=True)
class Share:
    """What one app-node should do: `lanes` to hold, and the lanes whose `quarantines` it works off."""

    lanes: frozenset[int]
    quarantines: frozenset[int]


def share_of(
    node_id: str, nodes: Mapping[str, Mapping[str, str]], lanes: int, quarantined: Collection[int]
) -> Share | None:
    """This app-node's share. None where it takes no part.

    `nodes`: those alive, with what each says about itself. `quarantined`: what this node itself has to say.
    """
    infos = {node: NodeInfo.decoded(info) for node, info in nodes.items()}
    running = [node for node, info in infos.items() if not info.draining]
    if node_id not in running:
        return None
    elsewhere = [info.quarantined for node, info in infos.items() if node != node_id]
    filled = frozenset(quarantined).union(*elsewhere)
    worker = lane_owner(_QUARANTINES, running) if filled else None
    holders: Iterable[str] = [node for node in running if node != worker] or running
    return Share(
        frozenset(lane for lane in range(lanes) if lane_owner(lane, holders) == node_id),
        filled if worker == node_id else frozenset(),
    )
