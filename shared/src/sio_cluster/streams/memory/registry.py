"""Which nodes there are."""

from sio_cluster.protocol.errors import ClusterMismatch
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import LEVEL, PROTOCOL_VERSION, SERVER_LEVEL
from sio_cluster.streams.api.registry import EPOCHS, Nodes, level_of
from sio_cluster.streams.memory.broker import MemoryBroker


class MemoryRegistry:
    """`api.registry.Registry`."""

    def __init__(self, broker: MemoryBroker, keys: Keys, lanes: int) -> None:
        self._broker = broker
        self._keys = keys
        self._lanes = lanes

    async def join_cluster(self) -> str:
        async with self._broker.operation():
            mine = (self._lanes, PROTOCOL_VERSION)
            if self._broker.settings is None:
                self._broker.settings = mine
            lanes, version = self._broker.settings
            life = self._broker.begin_life()
        if lanes != self._lanes:
            raise ClusterMismatch(f"LANES is {self._lanes} here, but the cluster runs with {lanes}")
        if version != PROTOCOL_VERSION:
            raise ClusterMismatch(f"this node speaks protocol version {PROTOCOL_VERSION}, the cluster {version}")
        return life

    async def life(self) -> str | None:
        async with self._broker.operation():
            return self._broker.life

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None:
        async with self._broker.operation():
            self._broker.io_nodes[node_id] = dict(info)
            if node_id in self._broker.parked_io_nodes:
                self._broker.parked_io_nodes.discard(node_id)
                log = self._broker.streams[self._keys.inbox(node_id)].log
                assert log is not None
                log.parked = None

    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None:
        async with self._broker.operation():
            self._broker.app_nodes[node_id] = dict(info)

    async def heartbeat(self, node_id: str, ttl_ms: int) -> float | None:
        async with self._broker.operation():
            self._broker.alive_until[node_id] = self._broker.clock() + ttl_ms / 1000
        return None

    async def retire_io_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.lost_io_nodes.add(node_id)
            self._broker.io_nodes.pop(node_id, None)

    async def unregister_io_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.io_nodes.pop(node_id, None)
            self._broker.lost_io_nodes.discard(node_id)
            self._broker.parked_io_nodes.discard(node_id)
            self._broker.clients_of.pop(node_id, None)
            forget_node(self._broker, self._keys, node_id)

    async def unregister_app_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.app_nodes.pop(node_id, None)
            forget_node(self._broker, self._keys, node_id)

    async def look(self) -> Nodes:
        return Nodes(
            await self.io_nodes(),
            await self.app_nodes(),
            await self.lost_io_nodes(),
            await self.lost_app_nodes(),
            await self.level(),
            await self.life(),
        )

    async def is_alive(self, node_id: str) -> bool:
        async with self._broker.operation():
            return self._alive(node_id)

    async def io_nodes(self) -> dict[str, dict[str, str]]:
        async with self._broker.operation():
            return {node: dict(info) for node, info in self._broker.io_nodes.items() if self._alive(node)}

    async def app_nodes(self) -> dict[str, dict[str, str]]:
        async with self._broker.operation():
            return {node: dict(info) for node, info in self._broker.app_nodes.items() if self._alive(node)}

    async def registered_io_nodes(self) -> list[str]:
        async with self._broker.operation():
            return sorted({*self._broker.io_nodes, *self._broker.parked_io_nodes})

    async def parked_io_nodes(self) -> list[str]:
        async with self._broker.operation():
            return sorted(self._broker.parked_io_nodes)

    async def lost_io_nodes(self) -> list[str]:
        async with self._broker.operation():
            nodes = {*self._broker.io_nodes, *self._broker.lost_io_nodes}
            return sorted(node for node in nodes if not self._alive(node))

    async def level(self) -> int:
        async with self._broker.operation():
            infos = [*self._broker.io_nodes.values(), *self._broker.app_nodes.values()]
            level = min((level_of(info) for info in infos), default=LEVEL)
            self._broker.index_is_exact &= level >= SERVER_LEVEL
            return level

    async def lost_app_nodes(self) -> list[str]:
        async with self._broker.operation():
            return sorted(node for node in self._broker.app_nodes if not self._alive(node))

    async def next_epoch(self) -> int:
        async with self._broker.operation():
            self._broker.epoch += 1
            return self._broker.epoch % EPOCHS

    def _alive(self, node_id: str) -> bool:
        return self._broker.alive_until.get(node_id, 0) > self._broker.clock()


def forget_node(broker: MemoryBroker, keys: Keys, node_id: str) -> None:
    """Its heartbeat, its inbox and its sequence numbers."""
    broker.alive_until.pop(node_id, None)
    broker.streams.pop(keys.inbox(node_id), None)
    for stream in broker.streams.values():
        stream.last_seq.pop(node_id, None)
        stream.bars.pop(node_id, None)
    broker.notify()
