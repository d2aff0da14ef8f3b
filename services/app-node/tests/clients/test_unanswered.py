"""Which questions are given up though nobody has said that they will not be answered."""

import asyncio
from typing import Any

import pytest

from app_node.clients.callbacks import Callbacks
from app_node.clients.record_access import RecordAccess
from app_node.clients.unanswered import LOOKS, MOST, Unanswered
from app_node.counters import Counters
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import Accepted, Ended
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

HOME = "io1-aaaaaa"
ANN = f"{HOME}.0000000000000001"
KEEP_MS = 60_000


class World:
    """One client that is connected, and an app-node that looks by hand."""

    def __init__(self) -> None:
        self.broker = MemoryBroker()
        self.bus = MemoryBus(config_of(), self.broker)
        self.counters = Counters()
        self.callbacks = Callbacks(self.counters, lambda: 0.0)
        self.callbacks.open(1)
        records = RecordAccess(self.bus.records, self.bus.homes, self.counters)
        self.unanswered = Unanswered(self.callbacks, records, self.bus.registry, self.counters, pause_s=1)

    async def begin(self) -> "World":
        await self.bus.registry.join_cluster()
        await self.bus.registry.register_io_node(HOME, {"level": "2"})
        await self.bus.registry.heartbeat(HOME, 60_000)
        await self.bus.inbox_reader(HOME, keeps_log=True).read(0)
        handshake = Handshake("GET", "/socket.io/", "EIO=4", [], "192.0.2.1")
        await self.bus.records.store([ClientConnected(ANN, "c1", "/", None, handshake, "polling", b"h" * 32)])
        await self.bus.records.update([Accepted(ANN)])
        return self

    def ask(self, **options: Any) -> int:
        return self.callbacks.ask(lambda: None, ANN, **options)

    async def look(self, times: int = 1) -> int:
        """How many wait after so many looks."""
        for _ in range(times):
            await self.unanswered.look()
        return len(self.callbacks)


@pytest.fixture
async def world() -> World:
    return await World().begin()


async def test_one_that_is_away_is_looked_at_some_times(world: World) -> None:
    world.ask()
    assert await world.look(10) == 1
    await world.bus.records.forget([Ended(ANN, 0, KEEP_MS)])
    assert await world.look(LOOKS - 1) == 1
    assert await world.look() == 0
    assert world.counters.acks_missed == 1
    assert world.unanswered._looks == {}


async def test_each_question_has_its_own_time(world: World) -> None:
    await world.bus.records.forget([Ended(ANN, 0, KEEP_MS)])
    world.ask()
    await world.look(LOOKS - 1)
    later = world.ask()
    assert await world.look() == 1
    assert world.callbacks.waits(later)


async def test_one_that_is_back_on_another_connection(world: World) -> None:
    """Only what its former connection was asked is given up."""
    world.ask(generation=0)
    unknown = world.ask()
    await world.look()
    await world.bus.records.forget([Ended(ANN, 0, KEEP_MS)])
    await world.bus.records.claim(ANN, "/", b"h" * 32, "io2-bbbbbb")
    assert await world.look(10) == 2  # it is not let in yet
    await world.bus.records.update([Accepted(ANN, 1)])
    later = world.ask()
    assert await world.look(10) == 1
    assert world.callbacks.waits(later)
    assert not world.callbacks.waits(unknown)


async def test_a_record_that_is_gone_says_nothing_while_the_io_node_lives(world: World) -> None:
    world.ask()
    await world.bus.records.forget([Ended(ANN)])
    assert await world.look(10) == 1
    await world.bus.registry.unregister_io_node(HOME)
    assert await world.look(LOOKS) == 0


async def test_redis_lost_its_data(world: World) -> None:
    """Its io-node is about to store the record anew: looks from before do not count."""
    world.ask()
    await world.bus.records.forget([Ended(ANN, 0, KEEP_MS)])
    assert await world.look(LOOKS - 1) == 1
    world.broker.lose_data()
    assert await world.look() == 1
    await world.begin()
    assert await world.look(10) == 1


async def test_many_take_turns(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app_node.clients.unanswered.MOST", 2)
    for number in range(5):
        world.callbacks.ask(lambda: None, f"io9-zzzzzz.{number:016}")
    assert await world.look(3 * LOOKS - 1) > 0
    assert await world.look(1) == 0
    assert world.counters.acks_missed == 5


async def test_the_records_of_many_are_asked_for_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one, 500 round trips to a slow Redis would take longer than a heartbeat."""
    under_way, most = 0, 0

    async def load(sid: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1

    monkeypatch.setattr(world.bus.records, "load", load)
    for number in range(MOST + 1):
        world.callbacks.ask(lambda: None, f"io9-zzzzzz.{number:016}")
    await world.look()
    assert most == MOST
