"""What Redis says of itself."""

from sio_cluster.protocol.errors import BusRefused
from sio_cluster.streams.api.store import StoreMemory
from sio_cluster.streams.redis.connections import Connections


class RedisStore:
    """`api.store.Store`."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def memory(self) -> StoreMemory | None:
        try:
            [reply] = await self._connections.run(("INFO", "memory"))
        except BusRefused:  # our user may not ask
            return None
        facts = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
        return StoreMemory(
            int(facts["used_memory"]), int(facts.get("maxmemory", 0)), facts.get("maxmemory_policy", "noeviction")
        )
