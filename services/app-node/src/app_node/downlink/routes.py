"""Which io-nodes a command goes to.

A sid names its io-node. A command for a room or for all goes to every registered io-node. The list of them is read
again when it is older than `MAX_AGE_S`. An io-node lets clients in only after it has been registered for longer than
that, so no broadcast misses one. Heartbeats do not matter here: an io-node that is late with its own, or waits for a
stalled Redis, still has its clients. One that is dead is unregistered by the reaper.
"""

import asyncio
from collections.abc import Iterable
from typing import Protocol

import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.downlink.batch import STOPPED
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import NodesTooOld
from sio_cluster.protocol.ids import node_of

log = structlog.get_logger()

MAX_AGE_S = 0.5
"""How old the list of io-nodes may be when a broadcast is sent."""
SEEN_S = 10.0
"""How long an io-node counts that sent us facts and is not in the list: it may be newer than the list."""


class Nodes(Protocol):
    """The part of `streams.api.registry.Registry` that is needed here."""

    async def registered_io_nodes(self) -> list[str]: ...

    async def level(self) -> int: ...


class Routes:
    """The list of io-nodes, as this app-node last saw it."""

    def __init__(self, registry: Nodes, clock: Clock, counters: Counters) -> None:
        self._registry = registry
        self._clock = clock
        self._retry = Retry("routes", counters.redis_retries)
        self._retry_level = Retry("level", counters.redis_retries)
        self._view: frozenset[str] = frozenset()
        self._viewed_at = float("-inf")
        self._seen: dict[str, float] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._level = 0
        self._level_known_at = float("-inf")
        self._line = asyncio.Lock()
        self._in_line = 0  # callers of `all` that wait for a newer list
        self._stopped = False

    @property
    def fresh(self) -> bool:
        """Whether the list is new enough for a broadcast."""
        return self._clock() - self._viewed_at < MAX_AGE_S

    def saw(self, node: str) -> None:
        """A fact came from this io-node: it lives, whether the list has it or not."""
        if node not in self._view:
            self._seen[node] = self._clock() + SEEN_S

    def knows(self, node: str) -> bool:
        """Whether somebody may read this io-node's inbox, as far as the list goes."""
        return node in self._view or self._seen.get(node, float("-inf")) > self._clock()

    async def all(self) -> Iterable[str]:
        """Every registered io-node. Callers are answered in the order in which they asked: emits keep theirs.

        A list that was new enough when it was asked for does, however long the caller had to wait: who comes later was
        not there then. Else a process that is so busy that a read takes MAX_AGE_S would read once for each caller.
        """
        if self._in_line or not self.fresh:
            asked_at = self._clock()
            self._in_line += 1
            try:
                async with self._line:
                    while asked_at - self._viewed_at >= MAX_AGE_S:
                        await self.refresh()
            finally:
                self._in_line -= 1
        return {*self._view, *(node for node in self._seen if self.knows(node))} if self._seen else self._view

    async def of(self, sid: str) -> str | None:
        """The io-node of this sid. None where it is no sid, or the io-node is gone."""
        node = node_of(sid)
        if node is None or self.knows(node):
            return node
        if not self.fresh:
            await self.refresh()
        return node if self.knows(node) else None

    async def require_level(self, level: int, what: str) -> None:
        """Raises NodesTooOld where a registered node does not understand `what`, which needs this level.

        An old node that has started since the last look, at most MAX_AGE_S ago, has no clients yet.
        """
        if self._level < level or self._clock() - self._level_known_at >= MAX_AGE_S:
            asked_at = self._clock()
            self._level = await self._retry_level.call(self._registry.level)
            self._level_known_at = asked_at
        if self._level < level:
            raise NodesTooOld(f"{what} needs nodes of level {level}, and a node of this cluster has {self._level}")

    async def refresh(self) -> None:
        """Reads the list again, and tries until Redis answers. Callers that come at the same time share one read.

        Raises RuntimeError where the node ends first.
        """
        if self._stopped:
            raise RuntimeError(STOPPED)
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._retry.call(self._look))
        await asyncio.wait([self._refreshing])
        if self._refreshing.cancelled():
            raise RuntimeError(STOPPED)
        self._refreshing.result()

    async def stop(self) -> None:
        """The node has ended: ends a read that is under way."""
        self._stopped = True
        if self._refreshing is not None:
            self._refreshing.cancel()

    async def _look(self) -> None:
        asked_at = self._clock()
        view = frozenset(await self._registry.registered_io_nodes())
        if view != self._view:
            log.info("io_nodes_changed", joined=sorted(view - self._view), left=sorted(self._view - view))
        self._view = view
        self._viewed_at = asked_at
        self._seen = {node: until for node, until in self._seen.items() if node not in view and until > asked_at}
