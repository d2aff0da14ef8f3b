"""Passes in memory."""

from sio_cluster.streams.memory.broker import MemoryBroker


class MemoryPasses:
    """`api.passes.Passes`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def issue(self, digest: str, ttl_ms: int) -> None:
        async with self._broker.operation():
            self._broker.passes[digest] = self._broker.clock() + ttl_ms / 1000

    async def counts(self, digest: str) -> bool:
        async with self._broker.operation():
            return self._broker.passes.get(digest, float("-inf")) > self._broker.clock()
