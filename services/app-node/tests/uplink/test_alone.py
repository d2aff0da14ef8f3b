"""Quarantines worked off by an app-node that comes to hold lanes meanwhile: reader, keeper and consumer are played."""

import asyncio
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from app_node.counters import Counters
from app_node.lanes.lane import Lane
from app_node.uplink.alone import Alone
from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.streams.api.lanes import Claimed, LaneEntry
from sio_cluster.streams.api.leases import Lease

REST_S = 0.2


class Consumer:
    """Each entry is done at once. `on_take` runs in between."""

    def __init__(self, on_take: Any) -> None:
        self.taken: list[tuple[bytes, float]] = []
        self._on_take = on_take

    @contextmanager
    def paused(self) -> Any:
        yield

    def take(self, lane: Lane, entry: LaneEntry) -> None:
        self.taken.append((entry.id, asyncio.get_running_loop().time()))
        self._on_take()


async def test_who_acquires_lanes_meanwhile_does_their_work_before_the_next_suspect() -> None:
    """It was the only app-node all along, and learned of its lanes a little after it learned of the quarantine."""
    number = quarantine_of(0)
    lane = Lane(Lease(number, "app1-aaaaaa", 1), float("inf"), lambda: 0.0)
    keeper: Any = SimpleNamespace(held={number: lane}, workable={number}, lanes_held=set(), changed=asyncio.Event())
    entries = [LaneEntry(number, b"%d-0" % seq, b"", True) for seq in range(3)]

    done = asyncio.Event()

    def acquire() -> None:
        if not keeper.lanes_held:
            keeper.lanes_held = {0}
            alone.rest()
        else:
            keeper.workable.clear()
            done.set()

    reader: Any = SimpleNamespace()
    clients: Any = SimpleNamespace(drop_lane=lambda lane: None)
    consumer: Any = Consumer(acquire)
    alone = Alone(reader, consumer, clients, Counters(), rest_s=REST_S, on_empty=lambda lane: None)
    alone.take(lane, Claimed(entries, None))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(alone.run(keeper))
        async with asyncio.timeout(5):
            await done.wait()
        task.cancel()
    (first, then), (second, later) = consumer.taken[:2]
    assert (first, second) == (b"0-0", b"1-0")
    assert later - then >= REST_S
