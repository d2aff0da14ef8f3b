"""What Redis holds, as the app-node in charge sees it."""

from collections import deque
from typing import Any

import pytest

from app_node.counters import Counters
from app_node.membership import redis_use
from app_node.membership.redis_use import NOTHING, RedisUse, RedisWatch
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.ids import name_of
from sio_cluster.streams.api.store import StoreMemory
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.contract import Writer

APP, IO = "app-aaaaaa", "io1-aaaaaa"
NAMES = (b"sio_app_lane_bytes{", b"sio_app_inbox_bytes{", b"sio_app_redis_memory_")


class World:
    """A watch, and what is in the Redis that it looks at: 1,000 bytes in lane 3, 200 in an inbox."""

    def __init__(self) -> None:
        self.bus = MemoryBus(config_of(LANES=4), MemoryBroker())
        self.in_charge = True
        self.answers: deque[StoreMemory | None] = deque()
        self.watch = RedisWatch(
            lanes=4,
            keys=self.bus.keys,
            appender=self.bus.appender,
            registry=self.bus.registry,
            store=self,
            is_in_charge=lambda: self.in_charge,
            counters=Counters(),
        )

    async def memory(self) -> StoreMemory | None:
        return self.answers.popleft()

    async def start(self) -> None:
        await self.bus.start()
        await self.bus.registry.register_io_node(IO, {})
        await self.bus.registry.register_app_node(APP, {})
        await self.bus.registry.heartbeat(APP, 60_000)
        await Writer(self.bus.appender, self.bus.keys.uplink(3)).write(b"x" * 1000)
        await Writer(self.bus.appender, self.bus.keys.inbox(IO)).write(b"x" * 200)


@pytest.fixture
async def world() -> World:
    world = World()
    await world.start()
    return world


async def test_the_bytes_of_each_lane_and_inbox_and_the_memory(world: World) -> None:
    """Also of an io-node whose heartbeat is late: nobody reads its inbox then."""
    memory = StoreMemory(5000, 9000, "noeviction")
    world.answers.append(memory)
    await world.watch.look()
    assert world.watch.use == RedisUse(
        {0: 0, 1: 0, 2: 0, 3: 1000}, {("io-node", "io1"): 200, ("app-node", "app"): 0}, memory
    )


async def test_a_node_that_starts_anew_makes_no_new_series(world: World) -> None:
    """Its id is a new one. What its former inbox still holds counts under its name, until that one is gone."""
    world.answers.extend([None])
    await world.bus.registry.register_io_node("io1-bbbbbb", {})
    await Writer(world.bus.appender, world.bus.keys.inbox("io1-bbbbbb")).write(b"x" * 30)
    await world.watch.look()
    assert world.watch.use.inboxes == {("io-node", "io1"): 230, ("app-node", "app"): 0}
    await world.bus.registry.unregister_io_node(IO)
    await world.watch.look()
    assert world.watch.use.inboxes == {("io-node", "io1"): 30, ("app-node", "app"): 0}
    await world.bus.registry.unregister_io_node("io1-bbbbbb")
    await world.watch.look()
    assert world.watch.use.inboxes == {("app-node", "app"): 0}


async def test_only_the_one_in_charge_asks_and_shows(world: World) -> None:
    world.in_charge = False
    await world.watch.look()  # there is no answer that it could get
    world.in_charge = True
    assert world.watch.use == NOTHING
    world.answers.append(None)
    await world.watch.look()
    assert world.watch.use.lanes
    world.in_charge = False
    assert world.watch.use == NOTHING, "another app-node shows it now"


async def test_while_redis_is_away_nothing_is_shown(world: World) -> None:
    world.answers.append(StoreMemory(1, 0, "noeviction"))
    await world.watch.look()
    world.bus.broker.go_down()
    with pytest.raises(BusUnavailable):
        await world.watch.look()
    assert world.watch.use == NOTHING


async def test_a_redis_that_does_not_tell_its_memory_is_asked_again_only_after_it_was_away(world: World) -> None:
    memory = StoreMemory(1, 0, "noeviction")
    world.answers.extend([None, memory])
    for _ in range(2):
        await world.watch.look()
        assert world.watch.use.memory is None
        assert world.watch.use.lanes[3] == 1000
    world.bus.broker.go_down()
    with pytest.raises(BusUnavailable):
        await world.watch.look()
    world.bus.broker.come_back()
    await world.watch.look()
    assert world.watch.use.memory == memory


@pytest.mark.slow
async def test_one_app_node_of_a_cluster_shows_it(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_use, "LOOK_S", 0.02)
    servers = [stage.echo_server(), stage.echo_server()]
    await stage.io_node()
    for server in servers:
        await server.start()

    def shown() -> list[str]:
        lines = [line for server in servers for line in server.node.metrics().splitlines()]
        return [line.partition(b" ")[0].decode() for line in lines if line.startswith(NAMES)]

    expected = {
        *[f'sio_app_lane_bytes{{lane="{lane}"}}' for lane in range(stage.config.lanes)],
        'sio_app_inbox_bytes{kind="io-node",node="io1"}',
        *[f'sio_app_inbox_bytes{{kind="app-node",node="{name_of(server.node.id)}"}}' for server in servers],
        "sio_app_redis_memory_used_bytes",
        "sio_app_redis_memory_max_bytes",
    }
    await stage.until(lambda: sorted(shown()) == sorted(expected))  # the other one shows nothing
