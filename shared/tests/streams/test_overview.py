"""The nodes of a cluster, as operators see them, in a real Valkey."""

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
        await registry.register_io_node("io1-aaaaaa", {"level": "2"})
        await registry.register_io_node("io2-aaaaaa", {})
        await registry.register_app_node("app1-aaaaaa", {"level": "2"})
        await registry.register_app_node("app2-aaaaaa", {})
        for node in ("io1-aaaaaa", "app1-aaaaaa"):
            await registry.heartbeat(node, 60_000)
        await bus.connections.run(
            ("SADD", keys.clients("io1-aaaaaa"), "a", "b"), ("SADD", keys.parked_io_nodes, "io3-aaaaaa")
        )
        for lane in (3, 5):
            assert await bus.leases.acquire(lane, "app1-aaaaaa", 60_000)
        assert await overview.nodes() == [
            NodeView("io1-aaaaaa", "io-node", "alive", 2, 2, None),
            NodeView("io2-aaaaaa", "io-node", "silent", 1, 0, None),
            NodeView("io3-aaaaaa", "io-node", "parked", None, 0, None),
            NodeView("app1-aaaaaa", "app-node", "alive", 2, None, [3, 5]),
            NodeView("app2-aaaaaa", "app-node", "silent", 1, None, []),
        ]
    finally:
        await bus.stop()
