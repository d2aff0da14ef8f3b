"""What the server says of itself, in memory and in Valkey alike."""

from sio_cluster.testing.contract import Cluster, Writer


class TestStore:
    async def test_its_memory_without_a_limit(self, cluster: Cluster) -> None:
        bus = cluster.new_bus()
        await Writer(bus.appender, bus.keys.uplink(0)).write(b"x" * 1000)
        memory = await bus.store.memory()
        assert memory is not None
        assert memory.used_bytes >= 1000
        assert (memory.limit_bytes, memory.policy) == (0, "noeviction")
