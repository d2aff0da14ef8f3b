"""How much one read brings."""

import pytest

from app_node.uplink.portion import MOST_ENTRIES, Portion
from sio_cluster.streams.api.lanes import LaneEntry


def entries(*sizes: int) -> list[LaneEntry]:
    return [LaneEntry(0, b"1-0", bytes(size), False) for size in sizes]


def test_reads_grow_from_one_entry_of_each_lane() -> None:
    portion = Portion(32_000_000)
    asked = []
    for _ in range(7):
        asked.append(portion.entries(16))
        portion.came(entries(100))
    assert asked == [1, 2, 4, 8, 16, 32, MOST_ENTRIES]
    portion.begin_small()
    assert portion.entries(16) == 1


@pytest.mark.parametrize(("lanes", "count"), [(1, 9), (4, 2), (16, 1)])
def test_no_read_brings_more_than_fits(lanes: int, count: int) -> None:
    portion = Portion(900_000)
    for _ in range(7):
        portion.came(entries(100, 100_000, 100))
    assert portion.entries(lanes) == count
    portion.came([])
    assert portion.entries(lanes) == count
    portion.came(entries(100))
    assert portion.entries(lanes) == MOST_ENTRIES
