"""Facts on their way to Redis: in order, none twice, none lost, and bounded."""

import asyncio
from collections import deque

import pytest

from io_node.bus.batch import MAX_BATCH_BYTES, MAX_BATCH_FACTS, next_batch
from sio_cluster.protocol.codec import decode_app_inbox
from sio_cluster.protocol.messages import AckMissed, AckReceived, UplinkItem
from sio_cluster.streams.memory import MemoryBus
from sio_cluster.testing.configs import config_of

from .fakes import KEYS, NODE, FakeSender, connected, event, number_of, running, until
from .uplinks import APP, World


async def test_facts_of_a_tick_share_an_entry_per_lane() -> None:
    world, sender = World(), FakeSender()
    async with running(world.uplink.run):
        for number in range(10):
            world.uplink.put(number % 2, event(number), sender)
        assert await world.uplink.emptied(5)
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
        assert await world.uplink.emptied(5)
    (entry,) = world.broker.streams[KEYS.inbox(APP)].entries.values()
    assert decode_app_inbox(entry).items == [answer]


async def test_a_client_is_recorded_before_its_fact() -> None:
    world, sender = World(), FakeSender()
    async with running(world.uplink.run):
        world.uplink.put(0, connected(1), sender)
        await until(lambda: world.lane(0) != [])
        assert connected(1).sid in world.broker.clients
        assert await world.uplink.emptied(5)
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
        assert await world.uplink.emptied(10)
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
        assert not await world.uplink.emptied(0)
        world.broker.come_back()
        assert await world.uplink.emptied(10)
    assert [number_of(fact) for fact in world.lane(0)] == list(range(2_500))


async def test_answers_for_an_app_node_that_is_gone_are_dropped_and_counted() -> None:
    world, sender = World(buffer_bytes=100_000, lane_max_bytes=1_000), FakeSender()
    async with running(world.uplink.run):
        for number in range(10):
            world.uplink.put(APP, AckReceived("s", number, b'["%s"]' % (b"x" * 900)), sender)
            await asyncio.sleep(0)
        await until(lambda: world.counters.streams_full >= 1)
        world.gone.add(APP)
        world.uplink.put(0, event(1), sender)
        assert await world.uplink.emptied(5)
    counters = world.counters
    assert counters.facts_dropped["app_node_gone"] > 0
    assert counters.facts_appended + counters.facts_dropped.total() == 11
    assert world.uplink.waiting_bytes == 0


async def test_answers_for_an_app_node_that_only_emits_wait_for_its_full_inbox() -> None:
    world, sender = World(buffer_bytes=100_000, lane_max_bytes=1_000), FakeSender()
    world.only_emits.add(APP)
    bus = MemoryBus(config_of(), world.broker)
    reader, taken = bus.inbox_reader(APP), 0
    async with running(world.uplink.run):
        for number in range(10):
            world.uplink.put(APP, AckReceived("s", number, b'["%s"]' % (b"x" * 900)), sender)
            await asyncio.sleep(0)
        await until(lambda: world.counters.streams_full >= 3)
        while taken < 10:
            taken += sum(len(decode_app_inbox(entry.entry).items) for entry in await reader.read(1_000))
            await reader.trim()
        assert await world.uplink.emptied(5)
    assert world.counters.facts_dropped.total() == 0
    assert world.counters.facts_appended == 10


async def test_what_is_no_answer_has_no_place_in_an_inbox() -> None:
    world, sender = World(), FakeSender()
    async with running(world.uplink.run):
        items: list[UplinkItem] = [event(1), connected(1), AckReceived("s", 7, b"[]"), AckMissed("s", 8)]
        for item in items:
            world.uplink.put(APP, item, sender)
        assert await world.uplink.emptied(5)
    [entry] = await MemoryBus(config_of(), world.broker).inbox_reader(APP).read(0)
    assert decode_app_inbox(entry.entry).items == [AckReceived("s", 7, b"[]"), AckMissed("s", 8)]
    counters = world.counters
    assert (counters.facts_appended, counters.acks_appended) == (2, 2)
    assert counters.facts_dropped == {"misplaced": 2}


def test_batches_are_bounded() -> None:
    facts: deque[UplinkItem] = deque(event(number) for number in range(MAX_BATCH_FACTS + 1))
    assert next_batch(facts, NODE, 1, 0.0, for_inbox=False).facts == MAX_BATCH_FACTS
    assert next_batch(facts, NODE, 2, 0.0, for_inbox=False).facts == 1
    facts.extend(event(number, 400_000) for number in range(3))
    assert next_batch(facts, NODE, 3, 0.0, for_inbox=False).facts == 2
    assert len(facts) == 1
    facts.appendleft(event(0, MAX_BATCH_BYTES))
    assert next_batch(facts, NODE, 4, 0.0, for_inbox=False).facts == 1
