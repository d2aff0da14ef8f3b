"""The nodes of a cluster, as operators see them, in a real Valkey."""

from dataclasses import replace

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.overview import NodeView, Overview


async def test_every_node_with_what_it_holds(redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    try:
        overview = Overview(bus.connections, bus.keys)
        with pytest.raises(ConfigError, match="no cluster"):
            await overview.nodes()
        await bus.start()
        assert await overview.nodes() == []
        registry, keys = bus.registry, bus.keys
        await registry.register_io_node("io1-aaaaaa", {"level": "2", "release": "0.2.0"})
        await registry.register_io_node("io2-aaaaaa", {})
        await registry.register_app_node("app1-aaaaaa", {"level": "2", "release": "0.2.0"})
        await registry.register_app_node("app2-aaaaaa", {})
        for node in ("io1-aaaaaa", "app1-aaaaaa"):
            await registry.heartbeat(node, 60_000)
        await bus.connections.run(
            ("SADD", keys.clients("io1-aaaaaa"), "a", "b"), ("SADD", keys.parked_io_nodes, "io3-aaaaaa")
        )
        for lane in (3, 5):
            assert await bus.leases.acquire(lane, "app1-aaaaaa", 60_000)
        await registry.register_app_node("app3-aaaaaa", {})
        await bus.connections.run(("SET", keys.alive("app3-aaaaaa"), "1"))  # as a node of an older release has it
        found = await overview.nodes()
        [[now, _]] = await bus.connections.run(("TIME",))
        since = [node.alive_since for node in found]
        assert since[1:3] == since[4:] == [None, None]
        assert all(began is not None and 0 <= int(now) - began < 30 for began in (since[0], since[3]))
        assert [replace(node, alive_since=None) for node in found] == [
            NodeView("io1-aaaaaa", "io-node", "alive", 2, 2, None, release="0.2.0"),
            NodeView("io2-aaaaaa", "io-node", "silent", 1, 0, None),
            NodeView("io3-aaaaaa", "io-node", "parked", None, 0, None),
            NodeView("app1-aaaaaa", "app-node", "alive", 2, None, [3, 5], release="0.2.0"),
            NodeView("app2-aaaaaa", "app-node", "silent", 1, None, []),
            NodeView("app3-aaaaaa", "app-node", "alive", 1, None, []),
        ]
    finally:
        await bus.stop()


async def test_a_node_lives_since_its_first_heartbeat_and_anew_after_a_gap(redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    await bus.start()
    key = bus.keys.alive("app1-aaaaaa")
    await bus.connections.run(("SET", key, "1600000000", "PX", 60_000))
    await bus.registry.heartbeat("app1-aaaaaa", 120_000)
    since, ttl_ms = await bus.connections.run(("GET", key), ("PTTL", key))
    assert (since, ttl_ms > 60_000) == (b"1600000000", True)
    await bus.connections.run(("DEL", key))
    now = await bus.registry.heartbeat("app1-aaaaaa", 60_000)
    assert await bus.connections.run(("GET", key)) == [b"%d" % now]
    await bus.stop()
