"""The loop that reads a node's inbox."""

import asyncio
from collections import Counter

import pytest

from sio_cluster.node.membership.inbox import FEW_BYTES, FEW_S, FORGET_S, TRIM_ENTRIES, InboxLoop
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.api.inboxes import InboxEntry
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.contract import Writer

NODE, APP = "io1-aaaaaa", "app-aaaaaa"


class World:
    def __init__(self) -> None:
        self.now = 0.0
        self.broker = MemoryBroker()
        self.bus = MemoryBus(config_of(), self.broker)
        self.writer = Writer(self.bus.appender, self.bus.keys.inbox(NODE), APP)
        self.taken: list[bytes] = []
        self.came = asyncio.Event()
        self.retries: Counter[str] = Counter()
        retry = Retry("inbox", self.retries, cap_ms=1)
        self.loop = InboxLoop(self.bus.inbox_reader(NODE), self.take, retry, lambda: self.now)

    async def take(self, entries: list[InboxEntry]) -> None:
        self.taken += [entry.entry for entry in entries]
        self.came.set()

    async def until(self, number: int) -> None:
        async with asyncio.timeout(5):
            while len(self.taken) < number:
                self.came.clear()
                await self.came.wait()

    async def held(self) -> int:
        [held] = await self.bus.appender.held_bytes([self.bus.keys.inbox(NODE)])
        return held


async def test_entries_come_in_order() -> None:
    world = World()
    await world.writer.write(b"a", b"b")
    running = asyncio.create_task(world.loop.run())
    await world.until(2)
    await world.writer.write(b"c")
    await world.until(3)
    assert world.taken == [b"a", b"b", b"c"]
    running.cancel()


async def test_it_goes_on_after_redis_was_away() -> None:
    world = World()
    world.broker.go_down()
    running = asyncio.create_task(world.loop.run())
    async with asyncio.timeout(5):
        while not world.retries:  # a failure tells nobody
            await asyncio.sleep(0)
    world.broker.come_back()
    await world.writer.write(b"a")
    await world.until(1)
    running.cancel()


async def test_what_was_read_is_removed_after_many_entries() -> None:
    world = World()
    await world.writer.write(*[b"x"] * (TRIM_ENTRIES - 1))
    running = asyncio.create_task(world.loop.run())
    await world.until(TRIM_ENTRIES - 1)
    assert await world.held() == TRIM_ENTRIES - 1
    await world.writer.write(b"x")
    await world.until(TRIM_ENTRIES)
    async with asyncio.timeout(5):
        while await world.held():  # the broker tells nobody
            await asyncio.sleep(0)
    running.cancel()


@pytest.mark.parametrize(("entry", "after_s"), [(b"x" * FEW_BYTES, 1.0), (b"x", FEW_S)])
async def test_what_was_read_is_removed_after_a_second_or_ten_where_it_is_little(entry: bytes, after_s: float) -> None:
    world = World()
    await world.writer.write(entry)
    running = asyncio.create_task(world.loop.run())
    await world.until(1)
    world.now += after_s - 0.01
    await world.writer.write(b"z")
    await world.until(2)
    assert await world.held() == len(entry) + 1
    world.now += 0.01
    await world.writer.write(b"y")
    await world.until(3)
    async with asyncio.timeout(5):
        while await world.held():  # the broker tells nobody
            await asyncio.sleep(0)
    running.cancel()


async def test_a_trim_whose_answer_is_lost_costs_no_entry() -> None:
    world = World()
    reader = world.bus.inbox_reader(NODE)
    trims = 0

    class Reader:
        read, close = reader.read, reader.close
        forget_log, forget_silent = reader.forget_log, reader.forget_silent

        async def trim(self) -> None:
            nonlocal trims
            trims += 1
            await reader.trim()
            if trims == 1:
                raise BusUnavailable("the answer was lost")

    loop = InboxLoop(Reader(), world.take, Retry("inbox", world.retries, cap_ms=1), lambda: world.now)
    running = asyncio.create_task(loop.run())
    for number in range(10):
        world.now += FEW_S
        await world.writer.write(b"%d" % number)
        await world.until(number + 1)
    running.cancel()
    assert world.taken == [b"%d" % number for number in range(10)]
    assert world.retries == {"inbox": 1}
    assert trims > 1


async def test_who_appended_nothing_for_long_is_forgotten() -> None:
    world = World()
    key = world.bus.keys.inbox(NODE)
    busy = Writer(world.bus.appender, key, "app-bbbbbb")
    await world.writer.write(b"a")
    running = asyncio.create_task(world.loop.run())
    for number in range(3):
        await busy.write(b"b")
        await world.until(number + 2)
        world.now += FORGET_S
    await busy.write(b"b")
    async with asyncio.timeout(5):
        while APP in world.broker.streams[key].last_seq:  # the broker tells nobody
            await asyncio.sleep(0)
    running.cancel()
