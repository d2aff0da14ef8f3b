"""How a node comes into its cluster when it starts: one rule for io-nodes, app-nodes and programs that only emit."""

from collections.abc import Awaitable, Callable

from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import AccessRefused, ConfigError


async def join(start: Callable[[], Awaitable[None]], retry: Retry) -> None:
    """Connects to Redis and joins the cluster. `start` is that of `streams.api.bus.Bus`.

    Waits while Redis is away, loads its data, is full or is a replica: `start` is tried again with backoff.

    Raises ConfigError at once where no waiting helps: Redis refuses the password, or the user lacks a right. Raises
    ClusterMismatch, which is one too, where this node does not fit the cluster.
    """

    async def once() -> None:
        try:
            await start()
        except AccessRefused as error:
            raise ConfigError(f"REDIS_URL, REDIS_PASSWORD: {error}") from error

    await retry.call(once)
