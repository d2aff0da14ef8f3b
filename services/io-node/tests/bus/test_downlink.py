"""The inbox, read in order and handed on."""

import asyncio
from collections.abc import Callable, Iterable

import pytest

from io_node.bus.counters import BusCounters
from io_node.bus.downlink import Downlink
from sio_cluster.node.membership.inbox import FEW_S, InboxLoop
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.protocol.messages import Canary, Command
from sio_cluster.streams.api.appends import Append
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.configs import config_of

from .fakes import KEYS, NODE, running, until

APP = "app1-bbbbbb"


class Hub:
    def __init__(self) -> None:
        self.nonces: list[int] = []
        self.on_command: Callable[[], None] = lambda: None

    def execute(self, commands: Iterable[Command], is_over: Callable[[], bool]) -> bool:
        for command in commands:
            assert isinstance(command, Canary)
            self.nonces.append(command.nonce)
            self.on_command()
            if is_over():
                return False
        return True


class World:
    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.hub = Hub()
        self.counters = BusCounters()
        self.now = 0.0
        bus = MemoryBus(config_of(), self.broker)
        self.appender = bus.appender
        downlink = Downlink(self.hub.execute, counters=self.counters, clock=lambda: self.now)
        retry = Retry("downlink", self.counters.redis_retries)
        self.loop = InboxLoop(bus.inbox_reader(NODE), downlink.take, retry, clock=lambda: self.now)

    async def send(self, seq: int, entry: bytes | None = None) -> None:
        entry = encode_downlink(APP, seq, [Canary(seq)]) if entry is None else entry
        await self.appender.append([Append(KEYS.inbox(NODE), APP, seq, entry, 1_000_000)])


async def test_commands_in_order() -> None:
    world = World()
    async with running(world.loop.run):
        for seq in range(1, 101):
            await world.send(seq)
        await until(lambda: len(world.hub.nonces) == 100)
    assert world.hub.nonces == list(range(1, 101))
    assert world.counters.commands_read == 100


@pytest.mark.parametrize("entry", [b"", b"garbage", b"\x94\x02", encode_downlink(APP, 1, [])[:-1]], ids=repr)
async def test_a_malformed_entry_is_passed_over(entry: bytes) -> None:
    world = World()
    async with running(world.loop.run):
        await world.send(1)
        await world.send(2, entry)
        await world.send(3)
        await until(lambda: world.hub.nonces == [1, 3])
    assert world.counters.malformed_batches == 1


async def test_redis_away_and_back() -> None:
    world = World()
    async with running(world.loop.run):
        await world.send(1)
        await until(lambda: world.hub.nonces == [1])
        world.broker.go_down()
        await until(lambda: world.counters.redis_retries["downlink"] >= 2)
        world.broker.come_back()
        await world.send(2)
        await until(lambda: world.hub.nonces == [1, 2])


async def test_what_was_read_is_trimmed_after_a_time() -> None:
    world = World()
    stream = world.broker.streams[KEYS.inbox(NODE)]
    async with running(world.loop.run):
        await world.send(1)
        await until(lambda: world.hub.nonces == [1])
        assert stream.held_bytes > 0
        world.now += FEW_S
        await world.send(2)
        await until(lambda: stream.held_bytes == 0)


async def test_what_was_read_is_trimmed_after_many_entries() -> None:
    world = World()
    stream = world.broker.streams[KEYS.inbox(NODE)]
    for seq in range(1, 501):
        await world.send(seq)
    async with running(world.loop.run):
        await until(lambda: len(world.hub.nonces) == 500 and stream.held_bytes == 0)


async def test_a_large_batch_leaves_others_their_turn() -> None:
    world = World()
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    world.hub.on_command = lambda: setattr(world, "now", world.now + 0.006)
    await world.send(1, encode_downlink(APP, 1, [Canary(n) for n in range(50)]))
    async with running(world.loop.run), running(other_work):
        await until(lambda: len(world.hub.nonces) == 50)
    assert turns >= 20


async def test_with_redis(redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    await bus.start()
    hub, counters = Hub(), BusCounters()
    downlink = Downlink(hub.execute, counters=counters)
    loop = InboxLoop(bus.inbox_reader(NODE), downlink.take, Retry("downlink", counters.redis_retries))
    async with running(loop.run):
        for seq in range(1, 601):
            entry = encode_downlink(APP, seq, [Canary(seq)])
            await bus.appender.append([Append(bus.keys.inbox(NODE), APP, seq, entry, 1_000_000)])
        await until(lambda: len(hub.nonces) == 600)
    assert hub.nonces == list(range(1, 601))
    await bus.stop()


async def test_a_retry_after_redis_lost_its_data_has_no_effect() -> None:
    """This node has read the entry; then Redis forgot all, its answer was lost, and the sender sends it again."""
    world = World()
    async with running(world.loop.run):
        await world.send(7)
        await until(lambda: world.hub.nonces == [7])
        entry = encode_downlink(APP, 7, [Canary(7)])
        await world.appender.append([Append(KEYS.inbox(NODE), "app1-cccccc", 1, entry, 1_000_000)])
        await world.send(8)
        await until(lambda: world.hub.nonces == [7, 8])
    assert world.counters.batches_read_before == 1
    assert world.counters.batches_read == 2
