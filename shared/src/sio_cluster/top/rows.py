"""What people want to know of two snapshots: rows with rates. Pure."""

from dataclasses import dataclass

from sio_cluster.streams.redis.lane_views import InboxView, LaneView
from sio_cluster.streams.redis.largest_rooms import RoomsView
from sio_cluster.streams.redis.overview import NodeView
from sio_cluster.top.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class NodeRow:
    id: str
    kind: str
    state: str
    level: int | None
    alive_s: float | None
    """For how long it has lived without a gap. None where nobody knows."""
    clients: int | None
    lanes: int | None
    inbox_per_s: float | None
    """Entries that came into its inbox. None where it was not there before, or Redis does not say."""
    lanes_per_s: float | None
    """Entries that came into its lanes. None for an io-node too."""


@dataclass(frozen=True, slots=True)
class LaneRow:
    lane: int
    holder: str | None
    entries: int
    bytes: int
    unread: int | None
    oldest_s: float
    entries_per_s: float | None
    quarantined: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class View:
    """One frame. Rates are those since the snapshot before. `time_s`: as in `Snapshot`."""

    time_s: float
    clients: int
    """Clients that io-nodes hold, of all namespaces."""
    entries: int
    """Entries that are not done, of all lanes."""
    entries_per_s: float | None
    dead_letters: int
    nodes: list[NodeRow]
    lanes: list[LaneRow]
    rooms: RoomsView | None
    """None where the room index is being built anew."""


def view_of(before: Snapshot, now: Snapshot) -> View:
    """`before` and `now` may be the same: then there are no rates."""
    seconds = now.time_s - before.time_s
    lanes = _lane_rows(before, now, seconds)
    return View(
        now.time_s,
        sum(node.clients or 0 for node in now.nodes),
        sum(lane.entries for lane in now.lanes),
        _sum([lane.entries_per_s for lane in lanes]),
        sum(lane.dead_letters for lane in now.lanes),
        [_node_row(node, before, now, seconds, lanes) for node in now.nodes],
        lanes,
        now.rooms,
    )


def busiest(lanes: list[LaneRow], limit: int) -> list[LaneRow]:
    """At most so many lanes, in order: those without a holder first, and those in which most waits."""
    first = sorted(lanes, key=lambda lane: (lane.holder is not None, -lane.entries, -(lane.entries_per_s or 0)))
    return sorted(first[:limit], key=lambda lane: lane.lane)


def _lane_rows(before: Snapshot, now: Snapshot, seconds: float) -> list[LaneRow]:
    earlier: dict[int, LaneView] = {lane.lane: lane for lane in before.lanes}
    return [
        LaneRow(
            lane.lane,
            lane.holder,
            lane.entries,
            lane.bytes,
            lane.unread,
            lane.oldest_s,
            _rate(earlier[lane.lane].added if lane.lane in earlier else None, lane.added, seconds),
            lane.quarantined,
            lane.dead_letters,
        )
        for lane in now.lanes
    ]


def _node_row(node: NodeView, before: Snapshot, now: Snapshot, seconds: float, lanes: list[LaneRow]) -> NodeRow:
    held = [lane.entries_per_s for lane in lanes if lane.holder == node.id]
    return NodeRow(
        node.id,
        node.kind,
        node.state,
        node.level,
        None if node.alive_since is None else max(0.0, now.time_s - node.alive_since),
        node.clients,
        None if node.lanes is None else len(node.lanes),
        _rate(_added(before.inboxes.get(node.id)), _added(now.inboxes.get(node.id)), seconds),
        None if node.kind == "io-node" else _sum(held),
    )


def _added(inbox: InboxView | None) -> int | None:
    return None if inbox is None else inbox.added


def _rate(before: int | None, now: int | None, seconds: float) -> float | None:
    """None where it is not known. A stream that began anew has fewer entries than before."""
    if before is None or now is None or seconds <= 0:
        return None
    return max(0, now - before) / seconds


def _sum(rates: list[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None
