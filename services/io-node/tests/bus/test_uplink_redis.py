"""Facts on their way to a real Redis."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from io_node.backpressure import Backpressure
from io_node.bus.counters import BusCounters
from io_node.bus.uplink import UplinkLimits
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_uplink
from sio_cluster.protocol.errors import RedisFull
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import commit
from sio_cluster.testing.valkey import start_valkey

from .fakes import FakeSender, event, number_of, running, until
from .uplinks import APP, World, make_uplink


class Redis:
    def __init__(self, config: Config, limits: UplinkLimits) -> None:
        self.bus = RedisBus(config)
        self.counters = BusCounters()
        self.uplink = make_uplink(
            self.bus,
            limits,
            appender=self.bus.appender,
            counters=self.counters,
            backpressure=Backpressure(),
            fair_bytes=1_000_000_000,  # only the bounds are tried here
        )
        self.reader = self.bus.lane_reader(APP)
        self.lease = Lease(0, APP, 0)

    async def take_over(self) -> None:
        lease = await self.bus.leases.acquire(0, APP, 60_000)
        assert lease is not None
        self.lease = lease

    async def read(self, numbers: list[int]) -> None:
        """Reads and commits one round of lane 0."""
        entries = await self.reader.read([0], 100, 10)
        for entry in entries:
            numbers += [number_of(fact) for fact in decode_uplink(entry.entry).facts]
        if entries:
            await commit(self.bus.appender, self.lease, *entries)


@pytest.fixture
async def redis(redis_config: Config) -> AsyncIterator[Redis]:
    redis = Redis(redis_config, UplinkLimits(50_000, 20_000, 20_000))
    await redis.bus.start()
    await redis.take_over()
    yield redis
    await redis.bus.stop()


async def test_backpressure_with_redis(redis: Redis) -> None:
    sender = FakeSender()
    numbers: list[int] = []
    async with running(redis.uplink.run), asyncio.timeout(20):
        number = 0
        while sender.reading.is_set():
            redis.uplink.put(0, event(number, 1_000), sender)
            number += 1
            await asyncio.sleep(0)
        assert redis.uplink.waiting_bytes <= 52_000
        while len(numbers) < number:
            await redis.read(numbers)
        await sender.reading.wait()
    assert numbers == list(range(number))
    assert redis.counters.streams_full > 0


async def test_a_redis_that_stalls_and_loses_connections() -> None:
    """Order is kept, and nothing is lost or doubled, however connections break between send and reply."""
    with start_valkey() as server:
        # Nobody reads meanwhile, and how long it takes until a break hurts is chance: no bound may be reached.
        redis = Redis(Config(REDIS_URL=server.url), UplinkLimits(1_000_000_000, 1_000_000_000, 1_000_000_000))
        await redis.bus.start()
        await redis.take_over()
        sender = FakeSender()
        numbers: list[int] = []
        expected: list[int] = []
        async with running(redis.uplink.run), asyncio.timeout(40):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for number in itertools.count():
                if number >= 200 and redis.counters.redis_retries["uplink"]:  # at least one break fell where it hurts
                    break
                redis.uplink.put(0, event(number), sender)
                expected.append(number)
                if number % 20 == 10:
                    server.pause()
                    redis.uplink.put(0, event(-number), sender)
                    expected.append(-number)
                    await asyncio.sleep(0.005)  # let the request leave, so that it breaks between send and reply
                    writer.write(b"CLIENT KILL TYPE normal SKIPME yes\r\n")
                    server.resume()
                    assert (await reader.readline()).startswith(b":")
                await asyncio.sleep(0.001)
            writer.close()
            assert await redis.uplink.emptied(20)
        while len(numbers) < len(expected):
            await redis.read(numbers)
        assert numbers == expected
        await redis.bus.stop()


async def test_a_full_redis_is_counted_and_waited_out() -> None:
    """`maxmemory` with noeviction: every write is refused for a while, and nothing is lost."""
    world, sender = World(), FakeSender()
    world.refuse_with = RedisFull("Redis answered: OOM")
    async with running(world.uplink.run):
        world.uplink.put(0, event(1), sender)
        await until(lambda: world.counters.redis_full > 0)
        world.refuse_with = None
        await until(lambda: world.counters.facts_appended == 1)
    assert [number_of(fact) for fact in world.lane(0)] == [1]
