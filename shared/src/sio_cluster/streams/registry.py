"""Which nodes there are, and which of them live."""

from sio_cluster.streams.connection import Bus


class Registry:
    """The nodes of the cluster."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat."""
        raise NotImplementedError

    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat."""
        raise NotImplementedError

    async def heartbeat(self, node_id: str, ttl_ms: int) -> None:
        """Says that the node lives for `ttl_ms` from now."""
        raise NotImplementedError

    async def unregister_io_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat and its inbox."""
        raise NotImplementedError

    async def unregister_app_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat and its inbox."""
        raise NotImplementedError

    async def io_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""
        raise NotImplementedError

    async def app_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""
        raise NotImplementedError

    async def lost_io_nodes(self) -> list[str]:
        """Registered, but not alive."""
        raise NotImplementedError

    async def lost_app_nodes(self) -> list[str]:
        """Registered, but not alive."""
        raise NotImplementedError

    async def next_epoch(self) -> int:
        """A number that no other app-node got: 1 to 2**21 - 1, then again from 0."""
        raise NotImplementedError
