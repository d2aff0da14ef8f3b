"""Facts on their way to Redis: in order, none twice, none lost, and bounded."""

import asyncio
import itertools
from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from io_node.backpressure import Backpressure
from io_node.bus.batch import MAX_BATCH_BYTES, MAX_BATCH_FACTS, next_batch
from io_node.bus.counters import BusCounters
from io_node.bus.fairness import Fairness
from io_node.bus.uplink import Uplink, UplinkLimits
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_app_inbox, decode_uplink
from sio_cluster.protocol.errors import BusError, RedisFull
from sio_cluster.protocol.messages import AckReceived, Fact
from sio_cluster.streams.api.appends import Append, Appender, AppendResult
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey

from .fakes import KEYS, NODE, FakeSender, connected, event, number_of, running, until

APP = "app1-bbbbbb"


def make_uplink(
    bus: Bus,
    limits: UplinkLimits,
    *,
    appender: Appender,
    counters: BusCounters,
    backpressure: Backpressure,
    gone: Collection[str] = (),
    only_emits: Collection[str] = (),
    fair_bytes: int = 64_000,
) -> Uplink:
    """`appender` may stand in front of that of the bus. Who `only_emits` lives, and is not registered."""

    async def is_alive(node_id: str) -> bool:
        return node_id in only_emits

    return Uplink(
        NODE,
        bus.keys,
        limits,
        appender=appender,
        records=bus.records,
        counters=counters,
        backpressure=backpressure,
        fairness=Fairness(appender, fair_bytes, backpressure=backpressure, retry=Retry("fairness", Counter())),
        retry=Retry("uplink", counters.redis_retries),
        is_gone=lambda node_id: node_id in gone or node_id in only_emits,
        is_alive=is_alive,
    )


class World:
    """An uplink over the memory broker."""

    def __init__(self, *, buffer_bytes: int = 1_000_000, lane_max_bytes: int = 1_000_000) -> None:
        self.broker = MemoryBroker()
        self.gone: set[str] = set()
        self.only_emits: set[str] = set()
        self.now = 0.0
        self.counters = BusCounters()
        bus = MemoryBus(Config(), self.broker)
        self.refuse_with: BusError | None = None
        self._appender = bus.appender
        self.backpressure = Backpressure()
        self.uplink = make_uplink(
            bus,
            UplinkLimits(buffer_bytes, lane_max_bytes, lane_max_bytes),
            appender=self,
            counters=self.counters,
            backpressure=self.backpressure,
            gone=self.gone,
            only_emits=self.only_emits,
        )

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        if self.refuse_with is not None:
            raise self.refuse_with
        return await self._appender.append(appends)

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        return await self._appender.held_bytes(streams)

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        return await self._appender.bars(streams, node_id)

    def lane(self, lane: int) -> list[Fact]:
        entries = self.broker.streams[KEYS.uplink(lane)].entries.values()
        return [fact for entry in entries for fact in decode_uplink(entry).facts]

    def empty_lane(self, lane: int) -> bool:
        """As the application does by committing. False."""
        stream = self.broker.streams[KEYS.uplink(lane)]
        stream.remove(list(stream.entries))
        return False


async def test_facts_of_a_tick_share_an_entry_per_lane() -> None:
    world, sender = World(), FakeSender()
    async with running(world.uplink.run):
        for number in range(10):
            world.uplink.put(number % 2, event(number), sender)
        assert await world.uplink.drain(5)
    assert [number_of(fact) for fact in world.lane(0)] == [0, 2, 4, 6, 8]
    assert [number_of(fact) for fact in world.lane(1)] == [1, 3, 5, 7, 9]
    assert world.counters.batches_appended == 2
    assert world.counters.facts_appended == 10
    assert world.uplink.waiting_bytes == 0


async def test_answers_go_to_the_inbox_of_who_asked() -> None:
    world, sender = World(), FakeSender()
    answer = AckReceived("io1-aaaaaa.0000000000000001", 5, b"[1]", [b"x"])
    async with running(world.uplink.run):
        world.uplink.put(APP, answer, sender)
        assert await world.uplink.drain(5)
    (entry,) = world.broker.streams[KEYS.inbox(APP)].entries.values()
    assert decode_app_inbox(entry).items == [answer]


async def test_a_client_is_recorded_before_its_fact() -> None:
    world, sender = World(), FakeSender()
    async with running(world.uplink.run):
        world.uplink.put(0, connected(1), sender)
        await until(lambda: world.lane(0) != [])
        assert connected(1).sid in world.broker.clients
        assert await world.uplink.drain(5)
    assert world.lane(0) == [connected(1)]


@pytest.mark.parametrize("replies", [1, 2, 3, 5])
async def test_a_lost_reply_doubles_nothing(replies: int) -> None:
    world, sender = World(), FakeSender()
    world.broker.lose_replies(replies)
    async with running(world.uplink.run):
        world.uplink.put(0, connected(1), sender)
        world.uplink.put(0, event(1), sender)
        await until(lambda: world.lane(0) != [])
        world.uplink.put(0, event(2), sender)
        world.uplink.put(1, event(3), sender)
        assert await world.uplink.drain(10)
    first, *events = world.lane(0)
    assert first == connected(1)
    assert [number_of(fact) for fact in events] == [1, 2]
    assert world.counters.redis_retries["uplink"] == replies
    assert world.counters.facts_appended == 4


async def test_while_redis_is_away_facts_wait_in_order() -> None:
    world, sender = World(), FakeSender()
    world.broker.go_down()
    async with running(world.uplink.run):
        for number in range(2_500):
            world.uplink.put(0, event(number), sender)
        await until(lambda: world.counters.redis_retries["uplink"] >= 2)
        assert not await world.uplink.drain(0)
        world.broker.come_back()
        assert await world.uplink.drain(10)
    assert [number_of(fact) for fact in world.lane(0)] == list(range(2_500))


async def test_a_full_buffer_stops_reading_and_resumes_at_half() -> None:
    world, sender, quiet = World(buffer_bytes=10_000), FakeSender(), FakeSender()
    world.broker.go_down()
    async with running(world.uplink.run):
        number = 0
        while sender.reading.is_set():
            world.uplink.put(0, event(number, 1_000), sender)
            number += 1
        world.uplink.put(0, event(number), sender)
        assert 10_000 < world.uplink.waiting_bytes < 12_000
        assert quiet.reading.is_set()
        assert world.backpressure.pauses == 1
        world.broker.come_back()
        async with asyncio.timeout(10):
            await sender.reading.wait()
        assert world.uplink.waiting_bytes <= 5_000
        assert await world.uplink.drain(5)
    assert [number_of(fact) for fact in world.lane(0)] == list(range(number + 1))


async def test_a_full_lane_stops_its_own_senders_only() -> None:
    world, sender, other = World(buffer_bytes=40_000, lane_max_bytes=3_000), FakeSender(), FakeSender()
    async with running(world.uplink.run):
        world.uplink.put(1, event(0), other)
        number = 0
        while sender.reading.is_set():
            world.uplink.put(0, event(number, 1_000), sender)
            number += 1
            await asyncio.sleep(0)
            assert number < 100
        world.uplink.put(1, event(1), other)
        await until(lambda: len(world.lane(1)) == 2)
        assert other.reading.is_set()
        assert world.counters.streams_full >= 1

        seen: list[int] = []
        while len(seen) < number:
            await until(lambda: world.lane(0) != [])
            seen += [number_of(fact) for fact in world.lane(0)]
            world.empty_lane(0)
        assert seen == list(range(number))
        async with asyncio.timeout(5):
            await sender.reading.wait()


async def test_two_reasons_to_pause_need_two_to_resume() -> None:
    world, sender = World(buffer_bytes=40_000, lane_max_bytes=1_000), FakeSender()
    async with running(world.uplink.run):
        for lane in (0, 1):
            while world.counters.streams_full <= lane:
                world.uplink.put(lane, event(0, 900), sender)
                await asyncio.sleep(0)
        for lane in (0, 1):
            for _ in range(15):
                world.uplink.put(lane, event(0, 900), sender)
        assert sender.paused.is_set()
        await until(lambda: world.empty_lane(0) or world.uplink.waiting_bytes < 20_000)
        assert sender.paused.is_set()
        await until(lambda: world.empty_lane(1) or sender.reading.is_set())
    assert world.backpressure.pauses == 1


async def test_a_closed_connection_is_not_resumed() -> None:
    world, sender = World(buffer_bytes=1_000), FakeSender()
    world.broker.go_down()
    async with running(world.uplink.run):
        world.uplink.put(0, event(1, 2_000), sender)
        assert sender.paused.is_set()
        world.uplink.forget(sender)
        world.broker.come_back()
        assert await world.uplink.drain(5)
    assert sender.paused.is_set()


async def test_answers_for_an_app_node_that_is_gone_are_dropped_and_counted() -> None:
    world, sender = World(buffer_bytes=100_000, lane_max_bytes=1_000), FakeSender()
    async with running(world.uplink.run):
        for number in range(10):
            world.uplink.put(APP, AckReceived("s", number, b'["%s"]' % (b"x" * 900)), sender)
            await asyncio.sleep(0)
        await until(lambda: world.counters.streams_full >= 1)
        world.gone.add(APP)
        world.uplink.put(0, event(1), sender)
        assert await world.uplink.drain(5)
    counters = world.counters
    assert counters.facts_dropped["app_node_gone"] > 0
    assert counters.facts_appended + counters.facts_dropped.total() == 11
    assert world.uplink.waiting_bytes == 0


async def test_answers_for_an_app_node_that_only_emits_wait_for_its_full_inbox() -> None:
    world, sender = World(buffer_bytes=100_000, lane_max_bytes=1_000), FakeSender()
    world.only_emits.add(APP)
    bus = MemoryBus(Config(), world.broker)
    reader, taken = bus.inbox_reader(APP), 0
    async with running(world.uplink.run):
        for number in range(10):
            world.uplink.put(APP, AckReceived("s", number, b'["%s"]' % (b"x" * 900)), sender)
            await asyncio.sleep(0)
        await until(lambda: world.counters.streams_full >= 3)
        while taken < 10:
            taken += sum(len(decode_app_inbox(entry).items) for entry in await reader.read(1_000))
            await reader.trim()
        assert await world.uplink.drain(5)
    assert world.counters.facts_dropped.total() == 0
    assert world.counters.facts_appended == 10


async def test_what_is_no_answer_has_no_place_in_an_inbox() -> None:
    world, sender = World(), FakeSender()
    async with running(world.uplink.run):
        for fact in (event(1), connected(1), AckReceived("s", 7, b"[]")):
            world.uplink.put(APP, fact, sender)
        assert await world.uplink.drain(5)
    [entry] = await MemoryBus(Config(), world.broker).inbox_reader(APP).read(0)
    assert decode_app_inbox(entry).items == [AckReceived("s", 7, b"[]")]
    counters = world.counters
    assert (counters.facts_appended, counters.acks_appended) == (1, 1)
    assert counters.facts_dropped == {"misplaced": 2}


def test_batches_are_bounded() -> None:
    facts: deque[Fact] = deque(event(number) for number in range(MAX_BATCH_FACTS + 1))
    assert next_batch(facts, NODE, 1, for_inbox=False).facts == MAX_BATCH_FACTS
    assert next_batch(facts, NODE, 2, for_inbox=False).facts == 1
    facts.extend(event(number, 400_000) for number in range(3))
    assert next_batch(facts, NODE, 3, for_inbox=False).facts == 2
    assert len(facts) == 1
    facts.appendleft(event(0, MAX_BATCH_BYTES))
    assert next_batch(facts, NODE, 4, for_inbox=False).facts == 1


# --- with a real server


class Redis:
    def __init__(self, config: Config) -> None:
        self.bus = RedisBus(config)
        self.counters = BusCounters()
        self.uplink = make_uplink(
            self.bus,
            UplinkLimits(50_000, 20_000, 20_000),
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
            await self.reader.commit(self.lease, [entry.id for entry in entries])


@pytest.fixture
async def redis(redis_config: Config) -> AsyncIterator[Redis]:
    redis = Redis(redis_config)
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
        redis = Redis(Config(REDIS_URL=server.url))
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
            assert await redis.uplink.drain(20)
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
