"""Says that this node lives, proves that its bus works both ways, and knows who else is there.

Each beat refreshes the node's registration, reads the registry, and sends a Canary through the node's own inbox. The
node is *ready* while its last canary came back in time. It may *accept* connections only some time after it first
registered: app-nodes look at the registry at least every 500 ms before they emit, so from then on no broadcast
misses this node.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from io_node.bus.counters import BusCounters
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.protocol.errors import BusError, RedisFull
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Canary
from sio_cluster.streams.redis.appender import Append, AppendResult

log = structlog.get_logger()

SETTLE_MS = 1_000
"""Twice the time for which an app-node may trust its view of the registry."""

_MAY_BE_LOST = "events not handled yet, messages not delivered yet, saved sessions of clients"
_MISSED_BEATS = 3
"""Canaries that may be missing before the node is not ready."""


class Nodes(Protocol):
    """What a heartbeat needs of `Registry`."""

    async def life(self) -> str | None: ...

    async def found(self) -> str: ...

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None: ...

    async def unregister_io_node(self, node_id: str) -> None: ...

    async def heartbeat(self, node_id: str, ttl_ms: int) -> None: ...

    async def io_nodes(self) -> dict[str, dict[str, str]]: ...

    async def registered_io_nodes(self) -> list[str]: ...

    async def app_nodes(self) -> dict[str, dict[str, str]]: ...


class Appends(Protocol):
    async def append(self, appends: Sequence[Append]) -> list[AppendResult]: ...


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The registry at the last beat."""

    io_nodes: dict[str, dict[str, str]] = field(default_factory=dict)
    app_nodes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def clients(self) -> int:
        """Clients of all io-nodes, each as it said at its own last beat."""
        counts = (info.get("clients", "") for info in self.io_nodes.values())
        return sum(int(count) for count in counts if count.isdecimal())


@dataclass(frozen=True, slots=True)
class Pace:
    """`timeout_ms`: how long one beat counts (Config.heartbeat_ttl_ms)."""

    beat_ms: int
    timeout_ms: int
    inbox_max_bytes: int
    settle_ms: int = SETTLE_MS


class Heartbeat:
    """`run` is a task for as long as the node lives.

    `on_data_lost` is awaited when the cluster's life has changed: Redis lost its data, and what this node knows must be
    stored anew; again with each beat until it raises no BusError. `on_declared_lost` is awaited when the registration
    vanished in the same life: the application was told that this node's clients are gone, so they must go.
    """

    def __init__(
        self,
        node_id: str,
        keys: Keys,
        pace: Pace,
        *,
        nodes: Nodes,
        appender: Appends,
        counters: BusCounters,
        count_clients: Callable[[], int],
        on_data_lost: Callable[[], Awaitable[None]],
        on_declared_lost: Callable[[], Awaitable[None]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = counters
        self.view = ClusterView()
        self.settled = asyncio.Event()
        self._node_id = node_id
        self._inbox = keys.inbox(node_id)
        self._pace = pace
        self._nodes = nodes
        self._appender = appender
        self._count_clients = count_clients
        self._on_data_lost = on_data_lost
        self._on_declared_lost = on_declared_lost
        self._now = now
        self._beating = asyncio.Lock()
        self._stopped = False
        self._nonce = 0
        self._info: dict[str, str] | None = None
        self._registered_at: float | None = None
        self._life: str | None = None
        self._restore_due = False
        self._viewed_at: float | None = None
        self._canary_at: float | None = None

    @property
    def ready(self) -> bool:
        """Whether the node is known to the cluster and its bus works in both directions."""
        if not self.settled.is_set() or self._canary_at is None:
            return False
        return self._now() - self._canary_at <= self._patience_s

    def is_gone(self, app_node: str) -> bool:
        """Whether this app-node is known not to be there."""
        fresh = self._viewed_at is not None and self._now() - self._viewed_at <= self._patience_s
        return fresh and app_node not in self.view.app_nodes

    def canary_returned(self, nonce: int) -> None:
        """Called with each Canary that came through the inbox; one that took too long proves nothing."""
        if self._nonce - nonce < _MISSED_BEATS:
            self._canary_at = self._now()

    async def run(self) -> None:
        """Beat until stopped; after a failure with backoff, at most a beat's time.

        Raises ClusterMismatch where Redis lost its data, and another founded a cluster which this node does not fit.
        """
        backoff = Backoff(cap_ms=self._pace.beat_ms)
        failing = False
        while True:
            try:
                async with self._beating:
                    if self._stopped:
                        return
                    await self._beat()
            except BusError as error:
                self.counters.heartbeats_failed += 1
                self.counters.redis_full += isinstance(error, RedisFull)
                if not failing:
                    log.warning("heartbeat_failed", error=str(error))
                failing = True
                await asyncio.sleep(next(backoff))
                continue
            if failing:
                log.info("heartbeat_recovered")
            failing = False
            backoff.reset()
            await asyncio.sleep(self._until_next_beat())

    async def stop(self) -> None:
        """Take the node out of the registry, for good. Raises BusError."""
        async with self._beating:
            self._stopped = True
            await self._nodes.unregister_io_node(self._node_id)

    @property
    def _patience_s(self) -> float:
        return max(_MISSED_BEATS * self._pace.beat_ms, 500) / 1000

    async def _beat(self) -> None:
        await self._nodes.heartbeat(self._node_id, self._pace.timeout_ms)
        self.view = ClusterView(await self._nodes.io_nodes(), await self._nodes.app_nodes())
        self._viewed_at = self._now()
        life = await self._nodes.life()  # last: where it is the same, what was read before was of this life
        if life is None or life != self._life:
            await self._begin_life()
        elif self._info is not None and self._node_id not in self.view.io_nodes and await self._is_buried():
            await self._let_go()
        await self._register()
        if self._restore_due:
            await self._on_data_lost()
            self._restore_due = False
        await self._send_canary()
        self.counters.heartbeats += 1

    async def _begin_life(self) -> None:
        """The first life that this node sees, or another one than before: Redis lost its data."""
        was_known, self._life = self._life is not None, await self._nodes.found()
        self._info = None
        if was_known:
            self._restore_due = True
            self.counters.registrations_lost += 1
            self.counters.data_lost += 1
            log.error("registration_lost", why="Redis lost its data", clients=self._count_clients(), lost=_MAY_BE_LOST)

    async def _is_buried(self) -> bool:
        """A beat may also have run out before the view was read."""
        registered = await self._nodes.registered_io_nodes()
        return self._node_id not in registered and await self._nodes.life() == self._life

    async def _let_go(self) -> None:
        """Registered in this life, and taken out by whoever buries the dead."""
        self.counters.registrations_lost += 1
        self.counters.declared_lost += 1
        log.error("registration_lost", why="silent for too long", clients=self._count_clients())
        await self._on_declared_lost()
        self._info = None

    async def _register(self) -> None:
        info = {"clients": str(self._count_clients())}
        if info != self._info:
            await self._nodes.register_io_node(self._node_id, info)
            self._info = info
        if self._registered_at is None:
            self._registered_at = self._now()
            log.info("node_registered", node=self._node_id)
        if not self.settled.is_set() and self._settle_left_s() <= 0:
            self.settled.set()

    async def _send_canary(self) -> None:
        self._nonce += 1
        entry = encode_downlink(self._node_id, self._nonce, [Canary(self._nonce)])
        append = Append(self._inbox, self._node_id, self._nonce, entry, self._pace.inbox_max_bytes, urgent=True)
        (result,) = await self._appender.append([append])
        if result is AppendResult.FULL:
            log.warning("own_inbox_full", stream=self._inbox)

    def _settle_left_s(self) -> float:
        assert self._registered_at is not None
        return self._registered_at + self._pace.settle_ms / 1000 - self._now()

    def _until_next_beat(self) -> float:
        """Until the node has settled it looks as soon as that is due."""
        beat_s = self._pace.beat_ms / 1000
        return beat_s if self.settled.is_set() else min(beat_s, max(0.0, self._settle_left_s()))
