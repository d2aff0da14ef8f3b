"""What an io-node says at each heartbeat and learns from it, and what happens when the cluster lost sight of it."""

import asyncio
from collections.abc import Sequence

import pytest

from io_node.bus.counters import BusCounters
from io_node.bus.registration import IoNodeRegistration
from sio_cluster.node.membership.presence import BusProof, Pace, Presence
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_downlink, encode_downlink
from sio_cluster.protocol.errors import BusUnavailable, ClusterMismatch, RedisFull
from sio_cluster.protocol.figures import Figures
from sio_cluster.protocol.messages import LEVEL, Canary
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

from .fakes import KEYS, NODE, running, until

APP = "app1-bbbbbb"
BEAT_MS = 10


class World:
    """One io-node's heartbeat, and a clock that only the test moves."""

    def __init__(self, *, settle_ms: int = 30) -> None:
        self.now = 100.0
        self.clients = 3
        self.broker = MemoryBroker(clock=lambda: self.now)
        self.calls: list[str] = []
        self.restores_to_fail = 0
        self.counters = BusCounters()
        self.bus = MemoryBus(config_of(), self.broker)
        self.registry = self.bus.registry
        self.inbox = self.bus.inbox_reader(NODE)
        self.proof = BusProof(
            NODE,
            KEYS.inbox(NODE),
            1_000_000,
            BEAT_MS,
            appender=self.bus.appender,
            encode=lambda seq, canary: encode_downlink(NODE, seq, [canary]),
            clock=lambda: self.now,
        )
        self.registration = IoNodeRegistration(
            NODE,
            self.registry,
            settle_ms=settle_ms,
            view_counts_s=self.proof.patience_s,
            counters=self.counters,
            count_clients=lambda: self.clients,
            figures=lambda: Figures(connections=self.clients),
            on_data_lost=self._data_lost,
            on_declared_lost=self._declared_lost,
            leave=lambda: self.registry.unregister_io_node(NODE),
            clock=lambda: self.now,
        )
        self.presence = Presence(
            NODE,
            Pace(BEAT_MS, 2_000),
            registry=self.registry,
            registration=self.registration,
            proof=self.proof,
            redis_clock=RedisClock(lambda: self.now),
            retry=Retry("heartbeat", self.counters.redis_retries, cap_ms=BEAT_MS),
        )

    @property
    def ready(self) -> bool:
        """As the node asks."""
        return self.registration.settled.is_set() and self.proof.stands

    @property
    def failed_beats(self) -> int:
        return self.counters.redis_retries["heartbeat"]

    async def _data_lost(self) -> None:
        self.calls.append("data lost")
        if self.restores_to_fail:
            self.restores_to_fail -= 1
            raise BusUnavailable("in the midst of it")

    async def _declared_lost(self) -> None:
        self.calls.append("declared lost")

    async def echo(self) -> None:
        """The downlink: canaries come back."""
        for entry in await self.inbox.read(100):
            for command in decode_downlink(entry.entry).commands:
                assert isinstance(command, Canary)
                self.proof.returned(command)

    async def beats(self, count: int = 2) -> None:
        wanted = self.presence.beats + count
        await until(lambda: self.presence.beats >= wanted)


async def test_ready_once_settled_and_proved_both_ways() -> None:
    world = World(settle_ms=1_000)
    async with running(world.presence.run):
        await world.beats()
        assert NODE in world.broker.io_nodes
        await world.echo()
        assert not world.ready, "app-nodes may not have seen it yet"
        world.now += 1.1
        await world.registration.settled.wait()
        await world.beats()
        await world.echo()
        assert world.ready


async def test_not_ready_when_the_canary_does_not_come_back() -> None:
    world = World(settle_ms=1)
    async with running(world.presence.run):
        world.now += 1
        await world.beats()
        await world.echo()
        world.now += 1
        await world.beats()
        await world.echo()
        assert world.ready
        await world.beats(5)
        world.now += 1
        assert not world.ready
        await world.echo()
        assert world.ready


async def test_a_full_redis_takes_canaries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all io-nodes turned unready at once, and a balancer had none left."""
    urgent: list[bool] = []

    async def append(appends: Sequence[Append]) -> list[AppendResult]:
        urgent.extend(append.urgent for append in appends)
        return [AppendResult.APPENDED] * len(appends)

    world = World()
    monkeypatch.setattr(world.bus.appender, "append", append)
    async with running(world.presence.run):
        await world.beats()
    assert set(urgent) == {True}


async def test_not_ready_while_redis_is_away() -> None:
    world = World(settle_ms=1)
    async with running(world.presence.run):
        world.now += 1
        await world.beats(3)
        world.broker.go_down()
        await until(lambda: world.failed_beats >= 2)
        world.now += 1
        assert not world.ready
        world.broker.come_back()
        await world.beats()
        await world.echo()
        assert world.ready


async def test_the_registry_says_how_many_clients() -> None:
    world = World()
    async with running(world.presence.run):
        await world.beats()
        assert world.registration.view.clients == 3
        world.clients = 5
        await world.registry.register_io_node("io2-bbbbbb", {"clients": "7"})
        await world.registry.register_io_node("io3-cccccc", {"clients": "nonsense"})
        await world.registry.heartbeat("io2-bbbbbb", 10_000)
        await world.registry.heartbeat("io3-cccccc", 10_000)
        await world.beats(3)
    assert world.registration.view.clients == 12
    assert set(world.registration.view.io_nodes) == {NODE, "io2-bbbbbb", "io3-cccccc"}


async def test_an_app_node_that_is_not_in_the_registry_is_gone() -> None:
    world = World()
    assert not world.registration.is_gone(APP), "nothing is known yet"
    await world.registry.register_app_node(APP, {})
    await world.registry.heartbeat(APP, 10_000)
    async with running(world.presence.run):
        await world.beats()
        assert not world.registration.is_gone(APP)
        assert world.registration.is_gone("app2-cccccc")
        world.broker.go_down()
        await until(lambda: world.failed_beats >= 1)
        world.now += 10
        assert not world.registration.is_gone("app2-cccccc"), "the view is stale"


@pytest.mark.parametrize("away_s", [0, 60])
async def test_redis_lost_its_data(away_s: int) -> None:
    """However long it was away: nobody has buried the node."""
    world = World()
    async with running(world.presence.run):
        await world.beats()
        world.broker.go_down()
        await until(lambda: world.failed_beats >= 1)
        world.now += away_s
        world.broker.lose_data()
        world.broker.come_back()
        await until(lambda: world.calls != [])
        await world.beats()
    assert world.calls == ["data lost"]
    assert NODE in world.broker.io_nodes
    assert (world.counters.data_lost, world.counters.declared_lost) == (1, 0)


async def test_redis_lost_its_data_and_another_node_was_there_first() -> None:
    world = World()
    async with running(world.presence.run):
        await world.beats()
        world.broker.lose_data()
        await world.registry.join_cluster()
        await until(lambda: world.calls != [])
        await world.beats()
    assert world.calls == ["data lost"]


async def test_the_cluster_is_founded_anew_after_a_loss() -> None:
    """Else a node with other lanes could join."""
    world = World()
    async with running(world.presence.run):
        await world.beats()
        world.broker.lose_data()
        await until(lambda: world.calls != [])
    with pytest.raises(ClusterMismatch):
        await MemoryBus(Config(LANES=3), world.broker).start()


async def test_another_cluster_was_founded_after_a_loss() -> None:
    world = World()
    beating = asyncio.create_task(world.presence.run())
    await world.beats()
    world.broker.lose_data()
    await MemoryBus(Config(LANES=3), world.broker).start()
    async with asyncio.timeout(5):
        with pytest.raises(ClusterMismatch):
            await beating


async def test_clients_are_stored_until_that_has_worked() -> None:
    world = World()
    world.restores_to_fail = 2
    async with running(world.presence.run):
        await world.beats()
        world.broker.lose_data()
        await until(lambda: len(world.calls) == 3)
        await world.beats()
    assert world.calls == ["data lost"] * 3
    assert world.counters.data_lost == 1


async def test_the_node_was_declared_lost() -> None:
    """However short it believes to have been silent: its clock may stand still while the machine sleeps."""
    world = World()
    async with running(world.presence.run):
        await world.beats()
        await world.registry.retire_io_node(NODE)
        await until(lambda: world.calls != [])
        await world.beats()
    assert world.calls == ["declared lost"]
    assert NODE in world.broker.io_nodes
    assert world.counters.declared_lost == 1


async def test_a_beat_that_ran_out_before_the_view_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis stalled in between, or the process: nobody has buried the node."""

    async def too_early(node_id: str, ttl_ms: int) -> None:
        pass

    world = World()
    async with running(world.presence.run):
        await world.beats()
        with monkeypatch.context() as patch:
            patch.setattr(world.registry, "heartbeat", too_early)
            world.now += 3
            await until(lambda: NODE not in world.registration.view.io_nodes)
            await world.beats()
        await world.beats()
    assert NODE in world.registration.view.io_nodes
    assert world.calls == []


async def test_a_full_redis_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(node_id: str, info: dict[str, str]) -> None:
        raise RedisFull("Redis answered: OOM")

    world = World()
    async with running(world.presence.run):
        await world.beats()
        with monkeypatch.context() as patch:
            patch.setattr(world.registry, "register_io_node", refuse)
            world.clients += 1  # so that its entry changes
            await until(lambda: world.counters.redis_full > 0)
        await world.beats()
    assert world.registration.view.clients == 4


async def test_who_leaves_is_out_of_the_registry_for_good() -> None:
    world = World()
    async with running(world.presence.run):
        await world.beats()
        await world.presence.leave()
        await world.presence.beat()
    assert await world.registry.io_nodes() == {}
    assert (world.counters.data_lost, world.counters.declared_lost) == (0, 0)


async def test_a_node_that_was_buried_and_parked() -> None:
    """Its clients may come back elsewhere. It lets them go, and goes on reading its inbox."""
    world = World()
    async with running(world.presence.run):
        await world.beats()
        await world.bus.inbox_reader(NODE, keeps_log=True).read(0)
        await world.bus.homes.park(NODE, 1_000_000)
        await until(lambda: "declared lost" in world.calls)
        await until(lambda: NODE in world.broker.io_nodes)
    assert world.broker.parked_io_nodes == set()
    assert world.calls.count("declared lost") == 1


async def test_what_the_oldest_node_understands() -> None:
    world = World()
    assert world.registration.level == 0
    async with running(world.presence.run):
        await world.beats()
        assert world.registration.level == LEVEL
        assert world.broker.io_nodes[NODE]["level"] == str(LEVEL)
        await world.registry.register_app_node(APP, {})
        await until(lambda: world.registration.level == 1)
        await world.registry.unregister_app_node(APP)
        await until(lambda: world.registration.level == LEVEL)


async def test_it_says_its_figures_while_an_app_node_says_that_somebody_watches() -> None:
    world = World()
    await world.registry.heartbeat(APP, 60_000)
    await world.registry.register_app_node(APP, {"level": "3"})
    async with running(world.presence.run):
        await world.beats()
        assert Figures.decoded(world.broker.io_nodes[NODE]) is None
        await world.registry.register_app_node(APP, {"level": "3", "watched": "yes"})
        await world.beats()
        assert Figures.decoded(world.broker.io_nodes[NODE]) == Figures(connections=3)
        await world.registry.register_app_node(APP, {"level": "3"})
        await world.beats()
        assert Figures.decoded(world.broker.io_nodes[NODE]) is None
