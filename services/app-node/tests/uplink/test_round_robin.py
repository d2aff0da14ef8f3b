"""The order in which entries of several lanes are taken."""

from app_node.lanes.lane import Lane
from app_node.uplink.round_robin import RoundRobin
from sio_cluster.streams.api.lanes import LaneEntry
from sio_cluster.streams.api.leases import Lease


def test_lanes_take_turns() -> None:
    def entry(lane: int, number: int) -> LaneEntry:
        return LaneEntry(lane, b"%d-0" % number, b"", False)

    lanes = {number: Lane(Lease(number, "app1", 1), float("inf"), lambda: 0.0) for number in (1, 2, 3)}
    flooded, other, third = [entry(3, n) for n in range(4)], [entry(1, 9)], [entry(2, n) for n in range(2)]
    turns = RoundRobin()
    assert not turns
    for one in (*flooded, *other, *third):
        turns.put(lanes[one.lane], one)
    taken = [turns.next()[1] for _ in range(4)]
    assert 1 not in turns
    turns.put(lanes[1], entry(1, 10))  # came while the long lane was worked on
    while turns:
        lane, one = turns.next()
        assert lane is lanes[one.lane]
        taken.append(one)
    assert taken == [flooded[0], other[0], third[0], flooded[1], third[1], flooded[2], entry(1, 10), flooded[3]]
