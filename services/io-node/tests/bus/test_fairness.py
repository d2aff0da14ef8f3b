"""A lane that one connection floods: that one is read no further, the others are."""

import asyncio
from collections import Counter
from collections.abc import Sequence

from io_node.backpressure import Backpressure
from io_node.bus.fairness import Fairness
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.api.appends import Append, AppendResult

from .fakes import FakeSender, running, until

FAIR = 1600
SMALL = FAIR // 16


class Queue:
    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.waiting_bytes = 0


class World:
    """Says what Redis holds, and who is paused."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.looks = 0
        self.away = False
        self.retries: Counter[str] = Counter()
        self.fairness = Fairness(self, FAIR, backpressure=Backpressure(), retry=Retry("fairness", self.retries))
        self._senders: set[FakeSender] = set()

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        self.looks += 1
        if self.away:
            raise BusUnavailable("away")
        return [self.held.get(stream, 0) for stream in streams]

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        raise NotImplementedError

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        raise NotImplementedError

    def put(self, queue: Queue, size: int, sender: FakeSender) -> None:
        self._senders.add(sender)
        self.fairness.put(queue, size, sender)

    @property
    def paused(self) -> set[FakeSender]:
        return {sender for sender in self._senders if sender.paused.is_set()}


async def test_who_sends_most_is_paused_until_the_lane_is_short() -> None:
    world, queue = World(), Queue("lane")
    flooder, other = FakeSender(), FakeSender()
    async with running(world.fairness.run):
        world.held["lane"] = FAIR + 1
        world.put(queue, SMALL, other)
        world.put(queue, FAIR // 2 + 1, flooder)
        await until(lambda: world.paused == {flooder})
        looks, world.held["lane"] = world.looks, FAIR // 2 + 1
        await until(lambda: world.looks > looks + 1)
        assert world.paused == {flooder}, "short means half"
        world.held["lane"] = FAIR // 2
        await until(lambda: not world.paused)
        looks = world.looks
        world.put(queue, SMALL, other)
        assert world.looks == looks, "a short lane into which little is put is not looked at"


async def test_a_newcomer_to_a_crowded_lane_is_paused_at_once() -> None:
    world, queue = World(), Queue("lane")
    flooder, late, other = FakeSender(), FakeSender(), FakeSender()
    async with running(world.fairness.run):
        world.held["lane"] = 2 * FAIR
        world.put(queue, 1, FakeSender())
        world.put(queue, FAIR, flooder)
        await until(lambda: world.paused == {flooder})
        world.put(queue, SMALL, other)
        world.put(queue, SMALL + 1, late)
        assert world.paused == {flooder, late}


async def test_a_lane_that_many_fill_evenly_stops_nobody_but_who_sends_far_more() -> None:
    world, queue = World(), Queue("lane")
    crowd, flooder = [FakeSender() for _ in range(20)], FakeSender()
    async with running(world.fairness.run):
        world.held["lane"] = 100 * FAIR
        for sender in crowd:
            world.put(queue, 3 * SMALL, sender)
        await until(lambda: world.looks > 1)
        assert world.paused == set()
        world.put(queue, 12 * SMALL + 1, flooder)
        assert world.paused == {flooder}
        for sender in crowd:
            world.put(queue, SMALL, sender)
        await until(lambda: not world.paused)  # still as long, but now that is usual


async def test_in_a_lane_of_few_none_puts_more_than_the_bound() -> None:
    world, queue = World(), Queue("lane")
    senders = [FakeSender() for _ in range(3)]
    async with running(world.fairness.run):
        world.held["lane"] = 2 * FAIR
        for sender in senders:
            world.put(queue, FAIR, sender)
        looks = world.looks
        await until(lambda: world.looks > looks + 1)
        assert world.paused == set()
        world.put(queue, 1, senders[0])
        world.put(queue, 1, senders[1])
        assert world.paused == set(senders[:2])


async def test_what_waits_here_counts_too() -> None:
    world, queue = World(), Queue("lane")
    flooder = FakeSender()
    async with running(world.fairness.run):
        queue.waiting_bytes = FAIR + 1
        world.put(queue, 1, FakeSender())
        world.put(queue, FAIR, flooder)
        await until(lambda: world.paused == {flooder})


async def test_nobody_puts_more_than_the_bound_before_redis_was_asked() -> None:
    world, queue = World(), Queue("lane")
    flooder, other = FakeSender(), FakeSender()
    world.put(queue, FAIR, flooder)
    assert world.paused == set()
    world.put(queue, 1, flooder)
    world.put(queue, SMALL + 1, other)
    assert world.paused == {flooder}


async def test_other_lanes_and_a_redis_that_is_away() -> None:
    """A lane is not short because nobody can tell; another one is none of its business."""
    world, crowded, calm = World(), Queue("crowded"), Queue("calm")
    flooder, other = FakeSender(), FakeSender()
    async with running(world.fairness.run):
        world.held["crowded"] = 2 * FAIR
        world.put(crowded, FAIR + 1, flooder)
        world.put(calm, FAIR, other)
        await until(lambda: world.paused == {flooder})
        looks, world.away = world.looks, True
        await until(lambda: world.looks > looks + 1)
        assert world.paused == {flooder}
        world.away, world.held = False, {}
        await until(lambda: not world.paused)


async def test_a_redis_that_is_away_is_asked_less_and_less() -> None:
    world, queue = World(), Queue("lane")
    world.away = True
    async with running(world.fairness.run):
        world.put(queue, FAIR, FakeSender())
        await asyncio.sleep(0.35)  # the shortest waits are 25, 50, 100, 200 ms
    assert 1 <= world.looks <= 4
