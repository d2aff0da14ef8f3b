"""This app-node's own presence: its heartbeat, its canaries, and its registration (`registration`).

What every node does (heartbeats, canaries) is `sio_cluster.node.membership.presence`.
"""

from collections.abc import Callable, Collection

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.membership.registration import AppNodeRegistration
from sio_cluster.node.membership.presence import BusProof, Pace, Presence
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import encode_app_inbox
from sio_cluster.streams.api.bus import Bus


class AppNodePresence:
    """Heartbeats, canaries and registration of an app-node.

    One that only emits sends heartbeats, which keep its inbox, and does not register: else the others would leave lanes
    to it. Nor does one whose application has no handlers: it would swallow the events of its lanes. It registers with
    the first heartbeat after `has_handlers()`. `proof` says whether canaries come back,
    `redis_clock` how old entries are.
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
        self.redis_clock = RedisClock(clock)
        self._registration = AppNodeRegistration(node_id, bus.registry, has_handlers)
        self._retry = Retry("heartbeat", counters.redis_retries, cap_ms=config.heartbeat_ms)
        self._presence = Presence(
            node_id,
            _pace(config),
            registry=bus.registry,
            registration=self._registration,
            proof=self.proof,
            redis_clock=self.redis_clock,
            retry=self._retry,
        )

    @property
    def is_registered(self) -> bool:
        """Whether this app-node has said to the others that it takes lanes."""
        return self._registration.is_registered

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

    async def watch(self, watched: bool) -> None:
        """Tells io-nodes whether somebody watches the cluster. Raises BusError."""
        await self._registration.watch(watched)

    async def leave(self) -> None:
        """Forgets this app-node, its inbox and its sequence numbers. No heartbeat follows. Raises BusError."""
        await self._presence.leave()


def _pace(config: Config) -> Pace:
    """A heartbeat counts for no longer than a lease, but for two heartbeats at least."""
    ttl_ms = min(config.node_timeout_ms, config.lease_ms)
    return Pace(config.heartbeat_ms, max(ttl_ms, 2 * config.heartbeat_ms))
