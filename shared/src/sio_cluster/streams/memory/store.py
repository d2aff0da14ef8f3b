"""What would be the server: the broker."""

from sio_cluster.streams.api.store import StoreMemory
from sio_cluster.streams.memory.broker import MemoryBroker


class MemoryStore:
    """`api.store.Store`. Only entries count."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def memory(self) -> StoreMemory | None:
        async with self._broker.operation():
            return StoreMemory(sum(stream.held_bytes for stream in self._broker.streams.values()), 0, "noeviction")
