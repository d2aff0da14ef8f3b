"""That this app-node is there: registration, heartbeats, and a canary that proves Redis both ways.

"Registered" is not "alive", and "subscribed" is not either: each heartbeat sends a Canary through this node's own
inbox, and the node is ready only while they come back.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from app_node.lanes.keeper import DRAINING
from app_node.lanes.lane import Clock
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.codec import encode_app_inbox
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.messages import Canary
from sio_cluster.streams.redis.appender import Append, AppendResult

log = structlog.get_logger()


class Registering(Protocol):
    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None: ...

    async def heartbeat(self, node_id: str, ttl_ms: int) -> None: ...

    async def unregister_app_node(self, node_id: str) -> None: ...

    async def found(self) -> str: ...

    async def app_nodes(self) -> dict[str, dict[str, str]]: ...


class Appends(Protocol):
    async def append(self, appends: Sequence[Append]) -> list[AppendResult]: ...


class Presence:
    """One app-node's place in the registry.

    It counts as dead when its leases have run out, too: `ttl_ms` is the shorter of both times. One that only emits
    (`takes_lanes=False`) sends heartbeats, which keep its inbox, but does not register: it gets no lanes.
    """

    def __init__(
        self,
        *,
        node_id: str,
        inbox: str,
        inbox_max_bytes: int,
        heartbeat_ms: int,
        ttl_ms: int,
        registry: Registering,
        appender: Appends,
        clock: Clock,
    ) -> None:
        self._node_id = node_id
        self._inbox = inbox
        self._inbox_max_bytes = inbox_max_bytes
        self._heartbeat_ms = heartbeat_ms
        self._ttl_ms = max(ttl_ms, 2 * heartbeat_ms)
        self._registry = registry
        self._appender = appender
        self._clock = clock
        self._nonce = 0
        self._proved_at = float("-inf")
        self._info: dict[str, str] = {"state": "running"}
        self.proved = asyncio.Event()

    def is_proved(self) -> bool:
        """Whether a canary came back within the last three heartbeats."""
        return self._clock() - self._proved_at < 3 * self._heartbeat_ms / 1000

    def canary_came_back(self, canary: Canary) -> None:
        if canary.nonce == self._nonce:
            self._proved_at = self._clock()
            self.proved.set()

    async def run(self, *, takes_lanes: bool) -> None:
        """Heartbeats for ever; registers anew where Redis lost the registration. Waits out Redis' absence.

        Raises ClusterMismatch where another has founded a cluster since, which this node does not fit.
        """
        backoff = Backoff()
        while True:
            try:
                await self.beat(takes_lanes=takes_lanes)
            except (BusUnavailable, BusRefused) as error:
                log.warning("heartbeat_retry", error=str(error))
                await asyncio.sleep(next(backoff))
            else:
                backoff.reset()
                await asyncio.sleep(self._heartbeat_ms / 1000)

    async def beat(self, *, takes_lanes: bool) -> None:
        """One heartbeat. Raises BusUnavailable or BusRefused."""
        if takes_lanes:
            await self._register_if_missing()
        await self._registry.heartbeat(self._node_id, self._ttl_ms)
        await self._send_canary()

    async def drain(self) -> None:
        """Tells the others to divide the lanes without this node."""
        self._info = DRAINING
        await self._registry.register_app_node(self._node_id, self._info)

    async def leave(self) -> None:
        """Forgets this node and its inbox."""
        await self._registry.unregister_app_node(self._node_id)

    async def _register_if_missing(self) -> None:
        if self._node_id not in await self._registry.app_nodes():
            await self._registry.found()
            await self._registry.register_app_node(self._node_id, self._info)
            log.info("app_node_registered", **self._info)

    async def _send_canary(self) -> None:
        self._nonce += 1
        entry = encode_app_inbox(self._node_id, self._nonce, [Canary(self._nonce)])
        append = Append(self._inbox, self._node_id, self._nonce, entry, self._inbox_max_bytes, urgent=True)
        await self._appender.append([append])  # urgent: an app-node must be able to work a full Redis off
