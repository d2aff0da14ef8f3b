"""A buffer or a lane that is full stops the reading of those who send to it."""

import asyncio

from .fakes import FakeSender, event, number_of, running, until
from .uplinks import World


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
        assert await world.uplink.emptied(5)
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
        assert await world.uplink.emptied(5)
    assert sender.paused.is_set()
