"""Heartbeat, registration and canary of a node, over the bus in memory."""

import asyncio
from collections import Counter

import pytest

from sio_cluster.node.membership.presence import BusProof, Pace, Presence, unready_because
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.codec import decode_app_inbox, encode_app_inbox
from sio_cluster.protocol.errors import BusUnavailable, ClusterMismatch
from sio_cluster.protocol.messages import Canary
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

NODE = "app1-aaaaaa"
BEAT_MS = 200


class World:
    """One node, and a clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.broker = MemoryBroker(lambda: self.now)
        self.bus = MemoryBus(config_of(), self.broker)
        self.inbox = self.bus.inbox_reader(NODE)
        self.refreshed = 0
        self.due_s: float | None = None
        self.errors: list[Exception] = []
        self.retries: Counter[str] = Counter()
        self.proof = BusProof(
            NODE,
            self.bus.keys.inbox(NODE),
            1000,
            BEAT_MS,
            appender=self.bus.appender,
            encode=lambda seq, canary: encode_app_inbox(NODE, seq, [canary]),
            clock=lambda: self.now,
        )
        self.presence = Presence(
            NODE,
            Pace(BEAT_MS, 1000),
            registry=self.bus.registry,
            registration=self,
            proof=self.proof,
            redis_clock=RedisClock(lambda: self.now),
            retry=Retry("heartbeat", self.retries, cap_ms=1),
        )

    async def refresh(self) -> float | None:
        if self.errors:
            raise self.errors.pop(0)
        self.refreshed += 1
        await self.bus.registry.register_app_node(NODE, {})
        return self.due_s

    async def leave(self) -> None:
        await self.bus.registry.unregister_app_node(NODE)

    async def take_canaries(self) -> list[Canary]:
        items = [item for entry in await self.inbox.read(0) for item in decode_app_inbox(entry.entry).items]
        canaries = [item for item in items if isinstance(item, Canary)]
        assert len(canaries) == len(items)
        return canaries


async def test_a_beat_makes_the_node_alive_and_registered() -> None:
    world = World()
    assert await world.presence.beat() == BEAT_MS / 1000
    assert await world.bus.registry.app_nodes() == {NODE: {}}
    world.now += 1.1
    assert await world.bus.registry.app_nodes() == {}
    await world.presence.beat()
    assert await world.bus.registry.app_nodes() == {NODE: {}}


async def test_the_registration_may_ask_for_an_earlier_beat() -> None:
    world = World()
    world.due_s = 0.05
    assert await world.presence.beat() == 0.05
    world.due_s = 5.0
    assert await world.presence.beat() == BEAT_MS / 1000


async def test_the_bus_is_proved_while_canaries_come_back() -> None:
    world = World()
    assert not world.proof.stands
    await world.presence.beat()
    assert not world.proof.stands
    [canary] = await world.take_canaries()
    world.proof.returned(canary)
    assert world.proof.stands
    world.now += world.proof.patience_s
    assert world.proof.stands
    world.now += 0.01
    assert not world.proof.stands


async def test_a_canary_that_took_three_beats_proves_nothing() -> None:
    world = World()
    for _ in range(4):
        await world.presence.beat()
    first, second, *_ = await world.take_canaries()
    world.proof.returned(first)
    assert not world.proof.stands
    world.proof.returned(second)
    assert world.proof.stands


async def test_an_inbox_slower_than_one_beat_and_faster_than_three_proves_the_bus() -> None:
    """Whatever the node: each canary comes back after two more have been sent."""
    world = World()
    canaries: list[Canary] = []
    for beat in range(20):
        await world.presence.beat()
        canaries += await world.take_canaries()
        if beat >= 2:
            world.proof.returned(canaries.pop(0))
            assert unready_because(world.proof, stopping=False, started=True) == ""
        world.now += BEAT_MS / 1000


def test_why_a_node_cannot_serve() -> None:
    proof = World().proof
    assert unready_because(proof, stopping=True, started=True) == "the node is stopping"
    assert unready_because(proof, stopping=False, started=False) == "the node is starting"
    assert unready_because(proof, stopping=False, started=True) == "Redis does not pass messages in both directions"


async def test_no_beat_follows_after_it_left() -> None:
    world = World()
    await world.presence.beat()
    await world.presence.leave()
    await world.presence.beat()
    assert await world.bus.registry.app_nodes() == {}
    with pytest.raises(TimeoutError):  # the loop itself goes on: one that ends counts as a defect
        async with asyncio.timeout(0.05):
            await world.presence.run()
    assert world.refreshed == 1
    assert world.presence.beats == 1


async def test_it_beats_on_after_redis_was_away() -> None:
    world = World()
    world.errors = [BusUnavailable("away"), BusUnavailable("away")]
    running = asyncio.create_task(world.presence.run())
    async with asyncio.timeout(5):
        while not world.presence.beats:  # the presence tells nobody
            await asyncio.sleep(0.001)
    running.cancel()
    assert world.retries == {"heartbeat": 2}


async def test_a_cluster_that_does_not_fit_ends_it() -> None:
    world = World()
    world.errors = [ClusterMismatch("other lanes")]
    with pytest.raises(ClusterMismatch):
        await world.presence.run()
