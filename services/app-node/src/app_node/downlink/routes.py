"""Which io-nodes a command goes to.

A sid names its io-node. A room or a broadcast goes to every registered io-node, after the view was refreshed where it
is older than `MAX_AGE_S`: an io-node takes clients only when it has been registered for longer than that, so that no
broadcast misses it. Its heartbeat does not count here: one that is late with it, or waits for a stalled Redis, still
has its clients. Who is dead is unregistered by the reaper.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import structlog

from app_node.counters import Counters
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.ids import node_of

log = structlog.get_logger()

MAX_AGE_S = 0.5
SEEN_S = 10.0  # how long a node counts that was met in a sid, but is not (yet) in the view


class IoNodes(Protocol):
    async def registered_io_nodes(self) -> list[str]: ...


class Routes:
    """This app-node's view of the io-nodes."""

    def __init__(self, registry: IoNodes, clock: Callable[[], float], counters: Counters) -> None:
        self._registry = registry
        self._clock = clock
        self._counters = counters
        self._view: frozenset[str] = frozenset()
        self._viewed_at = float("-inf")
        self._seen: dict[str, float] = {}
        self._refreshing: asyncio.Task[Any] | None = None
        self._line = asyncio.Lock()
        self._in_line = 0

    @property
    def fresh(self) -> bool:
        return self._clock() - self._viewed_at < MAX_AGE_S

    def saw(self, node: str) -> None:
        """A fact came from this node: it lives, whatever the view says."""
        if node not in self._view:
            self._seen[node] = self._clock() + SEEN_S

    def knows(self, node: str) -> bool:
        """Whether the node is worth an append, as far as the view goes."""
        return node in self._view or self._seen.get(node, float("-inf")) > self._clock()

    async def all(self) -> Iterable[str]:
        """Every registered io-node. Those who ask are answered in the order in which they asked: emits keep theirs."""
        if self._in_line or not self.fresh:
            self._in_line += 1
            try:
                async with self._line:
                    if not self.fresh:
                        await self.refresh()
            finally:
                self._in_line -= 1
        return {*self._view, *(node for node in self._seen if self.knows(node))} if self._seen else self._view

    async def of(self, sid: str) -> str | None:
        """The sid's io-node, None when it is no sid of this cluster or its node is gone."""
        node = node_of(sid)
        if node is None or self.knows(node):
            return node
        if not self.fresh:
            await self.refresh()
        return node if self.knows(node) else None

    async def refresh(self) -> None:
        """Looks again; waits out Redis' absence. Those who ask at the same time share one look."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._look())
        await asyncio.shield(self._refreshing)

    async def stop(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()

    async def _look(self) -> None:
        backoff = Backoff()
        while True:
            asked_at = self._clock()
            try:
                view = frozenset(await self._registry.registered_io_nodes())
            except (BusUnavailable, BusRefused) as error:
                wait = next(backoff)
                self._counters.add("retries.routes")
                log.warning("routes_retry", error=str(error), wait_ms=round(wait * 1000))
                await asyncio.sleep(wait)
                continue
            if view != self._view:
                log.info("io_nodes_changed", joined=sorted(view - self._view), left=sorted(self._view - view))
            self._view = view
            self._viewed_at = asked_at
            self._seen = {node: until for node, until in self._seen.items() if node not in view and until > asked_at}
            return
