"""This app-node's own place in the cluster: the part of its presence that is not the same in an io-node.

What every node does (heartbeats, canaries) is `sio_cluster.node.membership.presence`.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.lanes.division import NodeInfo
from sio_cluster.node.membership.presence import BusProof, Pace, Presence
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import encode_app_inbox
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()


class AppNodePresence:
    """Heartbeats, canaries and registration of an app-node.

    One that only emits sends heartbeats, which keep its inbox, and does not register: else the others would leave lanes
    to it. Nor does one whose application has no handlers: it would swallow the events of its lanes. It registers with
    the first heartbeat after `has_handlers()`. `proof` says whether canaries come back.
    """

    def __init__(
        self,
        node_id: str,
        config: Config,
        bus: Bus,
        clock: Clock,
        counters: Counters,
        has_handlers: Callable[[], bool],
    ) -> None:
        self.proof = BusProof(
            node_id,
            bus.keys.inbox(node_id),
            config.inbox_max_bytes,
            config.heartbeat_ms,
            appender=bus.appender,
            encode=lambda seq, canary: encode_app_inbox(node_id, seq, [canary]),
            clock=clock,
        )
        self._registration = Registration(node_id, bus.registry, has_handlers)
        self._retry = Retry("heartbeat", counters.redis_retries, cap_ms=config.heartbeat_ms)
        self._presence = Presence(
            node_id,
            _pace(config),
            registry=bus.registry,
            registration=self._registration,
            proof=self.proof,
            retry=self._retry,
        )

    async def run(self) -> None:
        """A loop for as long as the node lives: one heartbeat after the other. Retried while Redis is away.

        Raises ClusterMismatch where Redis lost its data, and another node has founded a cluster that this one does not
        fit.
        """
        await self._presence.run()

    async def take_lanes(self) -> None:
        """Registers this app-node, so that it has a part of the lanes, as soon as it has handlers.

        Waits for Redis. Raises ClusterMismatch.
        """
        self._registration.takes_lanes = True
        await self._retry.call(self._presence.beat)

    async def drain(self) -> None:
        """Asks the other app-nodes to divide the lanes without this one. Raises BusError."""
        await self._registration.drain()

    async def announce(self, quarantined: Collection[int], *, alone: bool) -> None:
        """Tells the others which quarantines hold something, and whether this node works any off. Raises BusError."""
        await self._registration.announce(quarantined, alone=alone)

    async def leave(self) -> None:
        """Forgets this app-node, its inbox and its sequence numbers. No heartbeat follows. Raises BusError."""
        await self._presence.leave()


class Registration:
    """`sio_cluster.node.membership.presence.Registration` of an app-node."""

    def __init__(self, node_id: str, registry: Registry, has_handlers: Callable[[], bool]) -> None:
        self._node_id = node_id
        self._registry = registry
        self._has_handlers = has_handlers
        self._info = NodeInfo()
        self._said: NodeInfo | None = None  # what the registry has, None before this app-node is registered
        self._left = False
        self.takes_lanes = False

    async def refresh(self) -> None:
        """Registers this app-node where it should be registered and is not. Raises BusError and ClusterMismatch."""
        if not self.takes_lanes or not self._has_handlers():
            return
        if self._node_id not in await self._registry.app_nodes():
            await self._registry.join_cluster()
            await self._say(self._info)
            log.info("app_node_registered", **self._info.encoded())

    async def drain(self) -> None:
        """Says that this app-node takes no lanes any more, if it took any. Raises BusError."""
        self._info = replace(self._info, draining=True)
        if self._has_handlers():
            await self._say(self._info)

    async def announce(self, quarantined: Collection[int], *, alone: bool) -> None:
        """Says what concerns quarantines, where that has changed and this app-node is registered. Raises BusError."""
        self._info = replace(self._info, quarantined=frozenset(quarantined), alone=alone)
        if self._said not in (None, self._info) and not self._left:
            await self._say(self._info)

    async def leave(self) -> None:
        """Forgets this app-node. Raises BusError."""
        self._left = True
        await self._registry.unregister_app_node(self._node_id)

    async def _say(self, info: NodeInfo) -> None:
        self._info = info
        await self._registry.register_app_node(self._node_id, info.encoded())
        self._said = info


def _pace(config: Config) -> Pace:
    """A heartbeat counts for no longer than a lease, but for two heartbeats at least."""
    ttl_ms = min(config.node_timeout_ms, config.lease_ms)
    return Pace(config.heartbeat_ms, max(ttl_ms, 2 * config.heartbeat_ms))
