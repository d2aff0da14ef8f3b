"""The app-nodes of the cluster, as this one last saw them."""

import asyncio

from app_node.clock import Clock
from app_node.counters import Counters
from sio_cluster.node.retry import Retry
from sio_cluster.streams.api.registry import Registry

MAX_AGE_S = 0.5
"""How old the list may be when something is said to all of them."""


class AppNodes:
    """Those that are registered and alive. A program that only emits is none of them."""

    def __init__(self, registry: Registry, clock: Clock, counters: Counters) -> None:
        self._registry = registry
        self._clock = clock
        self._retry = Retry("app_nodes", counters.redis_retries)
        self._alive: frozenset[str] = frozenset()
        self._viewed_at = float("-inf")
        self._looking = asyncio.Lock()

    def knows(self, node: str) -> bool:
        """Whether it lived when they were looked at last."""
        return node in self._alive

    async def all(self) -> frozenset[str]:
        """Their ids. Waits while Redis is away."""
        async with self._looking:  # callers are answered in the order in which they asked: what they say keeps theirs
            if self._clock() - self._viewed_at >= MAX_AGE_S:
                await self._retry.call(self.look)
        return self._alive

    async def look(self) -> frozenset[str]:
        """Reads the list anew. Raises BusError."""
        asked_at = self._clock()
        self._alive = frozenset(await self._registry.app_nodes())
        self._viewed_at = asked_at
        return self._alive

    async def registered(self) -> frozenset[str]:
        """Those that are alive, and those whose heartbeat is late. Raises BusError."""
        return (await self.look()).union(await self._registry.lost_app_nodes())
