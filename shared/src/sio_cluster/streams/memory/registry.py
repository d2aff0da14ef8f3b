"""Which nodes there are."""

from sio_cluster.streams.memory.broker import MemoryBus

_EPOCHS = 1 << 21


class MemoryRegistry:
    """`Registry` in memory."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self._broker = bus.broker
        self._keys = bus.keys

    async def life(self) -> str | None:
        async with self._broker.operation():
            return self._broker.life

    async def found(self) -> str:
        return await self._bus.found()

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None:
        async with self._broker.operation():
            self._broker.io_nodes[node_id] = dict(info)

    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None:
        async with self._broker.operation():
            self._broker.app_nodes[node_id] = dict(info)

    async def heartbeat(self, node_id: str, ttl_ms: int) -> None:
        async with self._broker.operation():
            self._broker.alive_until[node_id] = self._broker.clock() + ttl_ms / 1000

    async def retire_io_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.lost_io_nodes.add(node_id)
            self._broker.io_nodes.pop(node_id, None)

    async def unregister_io_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.io_nodes.pop(node_id, None)
            self._broker.lost_io_nodes.discard(node_id)
            self._forget(node_id)

    async def unregister_app_node(self, node_id: str) -> None:
        async with self._broker.operation():
            self._broker.app_nodes.pop(node_id, None)
            self._forget(node_id)

    async def io_nodes(self) -> dict[str, dict[str, str]]:
        async with self._broker.operation():
            return {node: dict(info) for node, info in self._broker.io_nodes.items() if self._alive(node)}

    async def app_nodes(self) -> dict[str, dict[str, str]]:
        async with self._broker.operation():
            return {node: dict(info) for node, info in self._broker.app_nodes.items() if self._alive(node)}

    async def registered_io_nodes(self) -> list[str]:
        async with self._broker.operation():
            return sorted(self._broker.io_nodes)

    async def lost_io_nodes(self) -> list[str]:
        async with self._broker.operation():
            nodes = {*self._broker.io_nodes, *self._broker.lost_io_nodes}
            return sorted(node for node in nodes if not self._alive(node))

    async def lost_app_nodes(self) -> list[str]:
        async with self._broker.operation():
            return sorted(node for node in self._broker.app_nodes if not self._alive(node))

    async def next_epoch(self) -> int:
        async with self._broker.operation():
            self._broker.epoch += 1
            return self._broker.epoch % _EPOCHS

    def _alive(self, node_id: str) -> bool:
        return self._broker.alive_until.get(node_id, 0) > self._broker.clock()

    def _forget(self, node_id: str) -> None:
        self._broker.alive_until.pop(node_id, None)
        self._broker.streams.pop(self._keys.inbox(node_id), None)
        for stream in self._broker.streams.values():
            stream.last_seq.pop(node_id, None)
            stream.bars.pop(node_id, None)
