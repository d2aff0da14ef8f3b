"""What an io-node does at each heartbeat so that the cluster knows it, and what it learns about the cluster.

The heartbeat itself is `node.membership.presence`, which calls `refresh`. Three things are particular to an io-node:

- **Settling.** App-nodes look at the registry at least every 500 ms before they emit. Only `settle_ms` after it first
  registered can a node be sure that no broadcast misses it. It lets no client in before.
- **Lost data.** When the cluster's life has changed, Redis lost its data. The node registers anew, and what it knows
  about its clients is stored anew.
- **Burial.** When the node is not registered any more in the same life, it was silent for too long, and the
  application was told that its clients are gone. So they must go.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from io_node.bus.counters import BusCounters
from sio_cluster.protocol.errors import RedisFull
from sio_cluster.protocol.figures import WATCHED, Figures, about_this_process
from sio_cluster.protocol.messages import LEVEL
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()

SETTLE_MS = 1_000
"""Twice the time for which an app-node may trust its view of the registry."""

_MAY_BE_LOST = "events not handled yet, messages not delivered yet, saved sessions of clients"


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The registry at the last beat."""

    io_nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    app_nodes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def clients(self) -> int:
        """The clients of all io-nodes, each counted by its io-node at its own last beat."""
        counts = (info.get("clients", "") for info in self.io_nodes.values())
        return sum(int(count) for count in counts if count.isdecimal())

    @property
    def is_watched(self) -> bool:
        """Whether an app-node says that somebody watches the cluster."""
        return any(WATCHED in info for info in self.app_nodes.values())


class IoNodeRegistration:
    """The `Registration` of `node.membership.presence.Presence`.

    `on_data_lost` is awaited when Redis lost its data, and again with each beat until it raises no BusError.
    `on_declared_lost` is awaited when the node was buried.
    """

    def __init__(
        self,
        node_id: str,
        registry: Registry,
        *,
        settle_ms: int,
        view_counts_s: float,
        counters: BusCounters,
        count_clients: Callable[[], int],
        figures: Callable[[], Figures],
        on_data_lost: Callable[[], Awaitable[None]],
        on_declared_lost: Callable[[], Awaitable[None]],
        leave: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`view_counts_s`: for how long the view of the last beat is believed. `leave` takes the node out of
        the registry. `figures` is asked while somebody watches the cluster.
        """
        self.view = ClusterView()
        self.level = 0
        """What the oldest node of the cluster understands (`protocol.messages.LEVEL`). 0: not known yet."""
        self.settled = asyncio.Event()
        """Set once the node may let clients in."""
        self._node_id = node_id
        self._registry = registry
        self._settle_s = settle_ms / 1000
        self._view_counts_s = view_counts_s
        self._counters = counters
        self._count_clients = count_clients
        self._figures = figures
        self._about = about_this_process()
        self._on_data_lost = on_data_lost
        self._on_declared_lost = on_declared_lost
        self._leave = leave
        self._clock = clock
        self._info: dict[str, str] | None = None
        self._registered_at: float | None = None
        self._life: str | None = None
        self._restore_due = False
        self._viewed_at: float | None = None

    def is_gone(self, app_node: str) -> bool:
        """Whether this app-node is known not to be there. False while nobody can tell."""
        fresh = self._viewed_at is not None and self._clock() - self._viewed_at <= self._view_counts_s
        return fresh and app_node not in self.view.app_nodes

    async def refresh(self) -> float | None:
        """One beat's part. Raises BusError, and ClusterMismatch where another node has founded a cluster that this
        one does not fit.

        Returns the seconds until the node has settled, None once it has.
        """
        try:
            await self._look()
            await self._register()
            if self._restore_due:
                await self._on_data_lost()
                self._restore_due = False
        except RedisFull:
            self._counters.redis_full += 1
            raise
        return None if self.settled.is_set() else self._settle_left_s()

    async def leave(self) -> None:
        await self._leave()

    async def _look(self) -> None:
        """Read the registry, and see whether Redis lost its data or the node was buried."""
        nodes = await self._registry.look()
        self.view = ClusterView(nodes.io_nodes, nodes.app_nodes)
        self._viewed_at = self._clock()
        self.level = nodes.level
        if nodes.life is None or nodes.life != self._life:
            await self._begin_life()
        elif self._info is not None and self._node_id not in self.view.io_nodes and await self._is_buried():
            await self._let_go()

    async def _begin_life(self) -> None:
        """The first life that this node sees, or another one than before: Redis lost its data."""
        was_known, self._life = self._life is not None, await self._registry.join_cluster()
        self._info = None
        if was_known:
            self._restore_due = True
            self._counters.data_lost += 1
            log.error("registration_lost", why="Redis lost its data", clients=self._count_clients(), lost=_MAY_BE_LOST)

    async def _is_buried(self) -> bool:
        """Not in the view is not enough: the beat may have run out before the view was read."""
        registered = set(await self._registry.registered_io_nodes()) - set(await self._registry.parked_io_nodes())
        return self._node_id not in registered and await self._registry.life() == self._life

    async def _let_go(self) -> None:
        self._counters.declared_lost += 1
        log.error("registration_lost", why="silent for too long", clients=self._count_clients())
        await self._on_declared_lost()
        self._info = None

    async def _register(self) -> None:
        info = {"clients": str(self._count_clients()), "level": str(LEVEL), **self._about}
        if self.view.is_watched:
            info |= self._figures().encoded()
        if info != self._info:
            await self._registry.register_io_node(self._node_id, info)
            self._info = info
        if self._registered_at is None:
            self._registered_at = self._clock()
            log.info("node_registered", node=self._node_id)
        if not self.settled.is_set() and self._settle_left_s() <= 0:
            self.settled.set()
            log.info("io_node_ready", node=self._node_id)

    def _settle_left_s(self) -> float:
        assert self._registered_at is not None
        return max(0.0, self._registered_at + self._settle_s - self._clock())
