"""The process' way to Redis."""

from sio_cluster.config import Config
from sio_cluster.protocol.keys import Keys


class Bus:
    """One per process. Owns every connection to Redis: one for commands, and one for each blocking reader."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._keys = Keys(config.redis_prefix)

    @property
    def keys(self) -> Keys:
        return self._keys

    async def start(self) -> None:
        """Connects, and checks that this node fits the cluster: raises ClusterMismatch, BusUnavailable, BusRefused."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Closes all connections. Idempotent."""
        raise NotImplementedError
