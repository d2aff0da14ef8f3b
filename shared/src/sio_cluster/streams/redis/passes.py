"""Passes in Redis: a key each, which expires."""

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.connections import Connections


class RedisPasses:
    """`api.passes.Passes`."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._connections = connections
        self._keys = keys

    async def issue(self, digest: str, ttl_ms: int) -> None:
        await self._connections.run(("SET", self._keys.a_pass(digest), "1", "PX", ttl_ms))

    async def counts(self, digest: str) -> bool:
        [found] = await self._connections.run(("EXISTS", self._keys.a_pass(digest)))
        return bool(found)
