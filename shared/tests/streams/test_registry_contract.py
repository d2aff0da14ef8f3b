"""The registry of nodes, in memory and in Valkey alike."""

import asyncio
from typing import Any

import pytest

from sio_cluster.protocol.errors import ClusterMismatch
from sio_cluster.protocol.messages import LEVEL, SERVER_LEVEL, Handshake
from sio_cluster.streams.api.appends import AppendResult
from sio_cluster.streams.api.registry import Nodes, Registry
from sio_cluster.streams.memory import MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.contract import Cluster, Writer, read_bodies

APP1, IO1, IO2 = "app-aaaaaa", "io1-aaaaaa", "io2-aaaaaa"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not await condition():  # Redis tells nobody
            await asyncio.sleep(0.005)


async def lose_data(cluster: Cluster) -> None:
    bus = cluster.new_bus()
    if isinstance(bus, MemoryBus):
        bus.broker.lose_data()
    elif isinstance(bus, RedisBus):
        await bus.connections.run(("DEL", bus.keys.config))


class TestRegistry:
    async def test_a_node_counts_once_it_heartbeats(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        await registry.register_io_node(IO1, {"clients": "3"})
        assert await registry.io_nodes() == {}
        await registry.heartbeat(IO1, 60_000)
        assert await registry.io_nodes() == {IO1: {"clients": "3"}}
        await registry.register_io_node(IO1, {"clients": "4"})
        assert await registry.io_nodes() == {IO1: {"clients": "4"}}
        assert await registry.app_nodes() == {}

    async def test_a_silent_node_is_lost_until_it_is_unregistered(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        for node in (IO1, IO2):
            await registry.register_io_node(node, {})
        await registry.heartbeat(IO1, 30)
        await registry.heartbeat(IO2, 60_000)

        async def lost() -> bool:
            return bool(await registry.lost_io_nodes() == [IO1])

        await until(lost)
        assert set(await registry.io_nodes()) == {IO2}
        assert await registry.registered_io_nodes() == sorted([IO1, IO2])  # it may still have its clients
        await registry.unregister_io_node(IO1)
        await registry.unregister_io_node(IO1)
        assert await registry.lost_io_nodes() == []
        assert await registry.registered_io_nodes() == [IO2]

    async def test_app_nodes(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        await registry.register_app_node(APP1, {"version": "1"})
        assert await registry.lost_app_nodes() == [APP1]
        await registry.heartbeat(APP1, 60_000)
        assert await registry.app_nodes() == {APP1: {"version": "1"}}
        assert await registry.io_nodes() == {}
        await registry.unregister_app_node(APP1)
        assert await registry.app_nodes() == {}
        assert await registry.lost_app_nodes() == []

    async def test_who_only_emits_is_alive_all_the_same(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        assert not await registry.is_alive(APP1)
        await registry.heartbeat(APP1, 60_000)
        assert await registry.is_alive(APP1)
        assert await registry.app_nodes() == {}
        await registry.unregister_app_node(APP1)
        assert not await registry.is_alive(APP1)

    async def test_an_inbox_goes_with_its_node(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        await registry.register_io_node(IO1, {})
        await Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1).write(b"a")
        await registry.unregister_io_node(IO1)
        assert await read_bodies(cluster.inbox_reader(IO1), 0) == []

    async def test_sequence_numbers_go_with_their_node(self, cluster: Cluster) -> None:
        registry, appender = cluster.registry(), cluster.appender()
        await registry.register_io_node(IO1, {})
        await registry.register_app_node(APP1, {})
        uplink = Writer(appender, cluster.keys.uplink(3), IO1)
        inbox = Writer(appender, cluster.keys.inbox(IO1), APP1)
        await uplink.write(b"a")
        await inbox.write(b"a")
        await registry.unregister_app_node(APP1)
        assert await inbox.write_as(1, b"a") is AppendResult.APPENDED
        assert await uplink.write_as(1, b"a") is AppendResult.DUPLICATE
        await registry.unregister_io_node(IO1)
        assert await uplink.write_as(1, b"a") is AppendResult.APPENDED

    async def test_a_life_begins_with_the_cluster_and_after_each_loss(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        assert await registry.life() is None
        await cluster.new_bus().start()
        life = await registry.life()
        assert life
        assert await registry.join_cluster() == life == await registry.life()
        await lose_data(cluster)
        assert await registry.life() is None
        assert await registry.join_cluster() not in (life, None)

    async def test_epochs_differ(self, cluster: Cluster) -> None:
        epochs = await asyncio.gather(*[cluster.registry().next_epoch() for _ in range(10)])
        assert len(set(epochs)) == 10
        assert all(0 <= epoch < 1 << 11 for epoch in epochs)

    async def test_a_retired_io_node_is_lost_until_it_lives_again_or_is_unregistered(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        await registry.register_io_node(IO1, {})
        await registry.retire_io_node(IO1)
        await registry.retire_io_node(IO1)
        assert await registry.registered_io_nodes() == []
        assert await registry.lost_io_nodes() == [IO1]
        await registry.heartbeat(IO1, 60_000)
        assert await registry.lost_io_nodes() == []
        assert await registry.io_nodes() == {}
        await registry.register_io_node(IO1, {})
        assert await registry.io_nodes() == {IO1: {}}
        await registry.unregister_io_node(IO1)
        assert await registry.lost_io_nodes() == []


class TestLook:
    """What one look sees is what the methods say, each for itself."""

    async def seen(self, registry: Registry) -> Nodes:
        nodes = await registry.look()
        assert nodes == Nodes(
            await registry.io_nodes(),
            await registry.app_nodes(),
            await registry.lost_io_nodes(),
            await registry.lost_app_nodes(),
            await registry.level(),
            await registry.life(),
        )
        return nodes

    async def test_nobody(self, cluster: Cluster) -> None:
        registry = cluster.registry()
        assert await self.seen(registry) == Nodes({}, {}, [], [], LEVEL, None)
        life = await registry.join_cluster()
        assert (await self.seen(registry)).life == life

    async def test_who_comes_and_goes(self, cluster: Cluster) -> None:
        registry, other = cluster.registry(), cluster.new_bus().registry
        await other.register_io_node(IO1, {"level": "3"})
        assert (await self.seen(registry)).lost_io_nodes == [IO1]
        await other.heartbeat(IO1, 60_000)
        await other.register_app_node(APP1, {"level": "2"})
        nodes = await self.seen(registry)
        assert (nodes.io_nodes, nodes.lost_app_nodes, nodes.level) == ({IO1: {"level": "3"}}, [APP1], 2)
        await other.heartbeat(APP1, 60_000)
        await other.register_io_node(IO2, {})
        await other.heartbeat(IO2, 60_000)
        nodes = await self.seen(registry)
        assert (set(nodes.io_nodes), set(nodes.app_nodes), nodes.level) == ({IO1, IO2}, {APP1}, 1)
        await other.retire_io_node(IO2)
        await other.unregister_io_node(IO1)
        nodes = await self.seen(registry)
        assert (nodes.io_nodes, nodes.lost_io_nodes, nodes.level) == ({}, [], 2)  # IO2 is retired, and alive
        await other.unregister_app_node(APP1)
        assert (await self.seen(registry)).app_nodes == {}

    async def test_it_is_told_that_a_node_keeps_no_room_index(self, cluster: Cluster) -> None:
        registry, index = cluster.registry(), cluster.room_index()
        await registry.join_cluster()
        assert await index.is_exact()
        await registry.register_io_node(IO1, {"level": str(SERVER_LEVEL - 1)})
        await registry.look()
        assert not await index.is_exact()


class TestStart:
    async def test_nodes_of_one_configuration_start(self, cluster: Cluster) -> None:
        await cluster.new_bus().start()
        await cluster.new_bus().start()

    async def test_other_lanes_are_refused(self, cluster: Cluster) -> None:
        await cluster.new_bus().start()
        other = cluster.config.model_copy(update={"lanes": 8})
        with pytest.raises(ClusterMismatch, match="LANES is 8 here, but the cluster runs with 16"):
            await cluster.new_bus(other).start()
