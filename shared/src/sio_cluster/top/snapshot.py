"""What Redis says of a cluster at one moment."""

from dataclasses import dataclass

from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.lane_views import InboxView, LaneView, LaneViews
from sio_cluster.streams.redis.largest_rooms import LargestRooms, RoomsView
from sio_cluster.streams.redis.overview import NodeView, Overview


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`time_s`: by Redis' clock, seconds since 1970. `rooms`: None where the room index is being built anew."""

    time_s: float
    nodes: list[NodeView]
    inboxes: dict[str, InboxView]
    lanes: list[LaneView]
    rooms: RoomsView | None


async def read(bus: RedisBus, namespace: str, rooms: int) -> Snapshot:
    """`rooms`: how many rooms of this namespace. Changes nothing.

    Raises BusError, and ConfigError where there is no cluster of this prefix.
    """
    overview, views = Overview(bus.connections, bus.keys), LaneViews(bus.connections, bus.keys)
    lanes = await overview.lanes()
    nodes = await overview.nodes()
    inboxes = await views.inboxes([node.id for node in nodes])
    largest = await LargestRooms(bus.connections, bus.keys).of(namespace, lanes, rooms)
    of_lanes = await views.lanes(lanes)
    [time] = await bus.connections.run(("TIME",))
    return Snapshot(int(time[0]) + int(time[1]) / 1e6, nodes, inboxes, of_lanes, largest)
