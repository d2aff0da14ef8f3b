"""A lane that one connection floods: that one is read no further, the others are."""

from collections.abc import Sequence

from io_node.bus.fairness import Fairness, Paused, Sender
from sio_cluster.protocol.errors import BusUnavailable

from .fakes import FakeSender, running, until

FAIR = 1600
SMALL = FAIR // 16


class Queue:
    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.waiting_bytes = 0


class World:
    """Says what Redis holds, and keeps who is paused."""

    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.looks = 0
        self.away = False
        self.paused: set[Sender] = set()
        self.fairness = Fairness(self, FAIR, pause=self.pause, release=self.release)

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        self.looks += 1
        if self.away:
            raise BusUnavailable("away")
        return [self.held.get(stream, 0) for stream in streams]

    def pause(self, paused: Paused, sender: Sender) -> None:
        paused[sender] = None
        self.paused.add(sender)

    def release(self, paused: Paused) -> None:
        self.paused -= paused.keys()
        paused.clear()


async def test_who_sends_most_is_paused_until_the_lane_is_short() -> None:
    world, queue = World(), Queue("lane")
    flooder, other = FakeSender(), FakeSender()
    async with running(world.fairness.run):
        world.held["lane"] = FAIR + 1
        world.fairness.put(queue, SMALL, other)
        world.fairness.put(queue, FAIR // 2 + 1, flooder)
        await until(lambda: world.paused == {flooder})
        looks, world.held["lane"] = world.looks, FAIR // 2 + 1
        await until(lambda: world.looks > looks + 1)
        assert world.paused == {flooder}, "short means half"
        world.held["lane"] = FAIR // 2
        await until(lambda: not world.paused)
        looks = world.looks
        world.fairness.put(queue, SMALL, other)
        assert world.looks == looks, "a short lane into which little is put is not looked at"


async def test_a_newcomer_to_a_crowded_lane_is_paused_at_once() -> None:
    world, queue = World(), Queue("lane")
    flooder, late, other = FakeSender(), FakeSender(), FakeSender()
    async with running(world.fairness.run):
        world.held["lane"] = 2 * FAIR
        world.fairness.put(queue, FAIR, flooder)
        await until(lambda: world.paused == {flooder})
        world.fairness.put(queue, SMALL, other)
        world.fairness.put(queue, SMALL + 1, late)
        assert world.paused == {flooder, late}


async def test_what_waits_here_counts_too() -> None:
    world, queue = World(), Queue("lane")
    flooder = FakeSender()
    async with running(world.fairness.run):
        queue.waiting_bytes = FAIR + 1
        world.fairness.put(queue, FAIR, flooder)
        await until(lambda: world.paused == {flooder})


async def test_nobody_puts_more_than_the_bound_before_redis_was_asked() -> None:
    world, queue = World(), Queue("lane")
    flooder, other = FakeSender(), FakeSender()
    world.fairness.put(queue, FAIR, flooder)
    assert world.paused == set()
    world.fairness.put(queue, 1, flooder)
    world.fairness.put(queue, SMALL + 1, other)
    assert world.paused == {flooder}


async def test_other_lanes_and_a_redis_that_is_away() -> None:
    """A lane is not short because nobody can tell; another one is none of its business."""
    world, crowded, calm = World(), Queue("crowded"), Queue("calm")
    flooder, other = FakeSender(), FakeSender()
    async with running(world.fairness.run):
        world.held["crowded"] = 2 * FAIR
        world.fairness.put(crowded, FAIR, flooder)
        world.fairness.put(calm, FAIR, other)
        await until(lambda: world.paused == {flooder})
        looks, world.away = world.looks, True
        await until(lambda: world.looks > looks + 1)
        assert world.paused == {flooder}
        world.away, world.held = False, {}
        await until(lambda: not world.paused)
