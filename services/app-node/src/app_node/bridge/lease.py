"""Which of several bridges is the active one. The others wait."""

import asyncio

import structlog

from app_node.bridge.counters import BridgeCounters
from app_node.clock import Clock
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.redis.bridged import BridgedRedis

log = structlog.get_logger()

LOOKS = 5
"""How often in the time of a lease the active bridge renews it, and the others ask for it."""


class ActiveLease:
    """The right to be the active bridge. It ends LEASE_MS after it was renewed last, by this process' own clock."""

    def __init__(self, redis: BridgedRedis, lease_ms: int, clock: Clock, counters: BridgeCounters) -> None:
        self._redis = redis
        self._lease_ms = lease_ms
        self._clock = clock
        self._retry = Retry("bridge lease", counters.redis_retries, cap_ms=lease_ms / LOOKS)
        self._until = self._answered_at = float("-inf")
        self._became_held = asyncio.Event()

    @property
    def held(self) -> bool:
        """Whether this bridge is the active one now."""
        return self._clock() < self._until

    @property
    def unanswered_because(self) -> str:
        """Why nobody knows which bridge is the active one. "" while Redis says."""
        silent = self._clock() - self._answered_at > self._lease_ms / 1000
        return "the Redis that the bridge listens to does not answer" if silent else ""

    async def wait(self) -> None:
        """Returns when this bridge is the active one."""
        while not self.held:
            self._became_held.clear()
            await self._became_held.wait()

    async def run(self) -> None:
        """A loop for as long as the bridge lives."""
        while True:
            try:
                await self._look()
            except BusError as error:
                await asyncio.sleep(self._retry.failed(error))
            else:
                self._retry.succeeded()
                await asyncio.sleep(self._lease_ms / LOOKS / 1000)

    async def _look(self) -> None:
        asked_at, was_held = self._clock(), self.held
        is_ours = await self._redis.hold_lease(self._lease_ms)
        self._answered_at = self._clock()
        self._until = asked_at + self._lease_ms / 1000 if is_ours else float("-inf")
        if self.held:
            self._became_held.set()
        if was_held != self.held:
            log.info("bridge_active" if self.held else "bridge_waits")

    async def free(self) -> None:
        """Gives the lease up, so that another bridge goes on at once. To be called when the loops have ended."""
        if self.held:
            self._until = float("-inf")
            await self._redis.free_lease()
