"""Listens to the channels of python-socketio's RedisManager, of @socket.io/redis-emitter, and of servers with
@socket.io/redis-streams-adapter, which are called as those of the emitter.

Redis keeps nothing of what is said on a channel. While no bridge listens, it is lost.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from app_node.bridge.counters import BridgeCounters
from app_node.bridge.formats import redis_emitter, redis_manager, redis_streams_emitter
from app_node.bridge.intake import Intake
from app_node.bridge.lease import ActiveLease
from app_node.bridge.requests import Request, Source
from app_node.downlink.landing import landing_as_one
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.redis.bridged import BridgedRedis, Listener

log = structlog.get_logger()

BATCH = 256
"""Messages that are on their way to the cluster at a time. The next ones wait in Redis, which closes the subscription
where they become too many (`client-output-buffer-limit pubsub`)."""
WAIT_S = 0.5


class Channels:
    """The subscription of the active bridge."""

    def __init__(
        self, redis: BridgedRedis, config: Config, lease: ActiveLease, intake: Intake, counters: BridgeCounters
    ) -> None:
        self._redis = redis
        self._lease = lease
        self._intake = intake
        self._counters = counters
        self._retry = Retry("bridge channels", counters.redis_retries)
        self._key = config.bridge_key
        self._channel = config.bridge_channel if "redis-manager" in config.bridge_sources else None
        self._sources = frozenset(config.bridge_sources)
        to_clients, to_servers = redis_emitter.channels_of(self._key)
        of_emitter, of_adapter = "redis-emitter" in self._sources, "redis-streams-emitter" in self._sources
        self._beginnings = (to_clients, to_servers) if of_emitter else (to_clients,) if of_adapter else ()
        self.open = False
        """Whether what is said now is heard."""

    async def run(self) -> None:
        """A loop for as long as the bridge lives. After a failure it subscribes again, with backoff."""
        while True:
            await self._lease.wait()
            listener = self._redis.listen([self._channel] if self._channel else [], self._beginnings)
            try:
                await self._listen(listener)
            except BusError as error:
                if self.open:
                    self._counters.subscriptions_lost += 1
                    log.warning("bridge_subscription_lost", why=str(error), lost="what is said until it is back")
                    self.open = False
                await asyncio.sleep(self._retry.failed(error))
            finally:
                self.open = False
                await listener.close()

    async def _listen(self, listener: Listener) -> None:
        await listener.open()
        self._retry.succeeded()
        self.open = True
        log.info("bridge_listens", channel=self._channel, channels=[f"{name}*" for name in self._beginnings])
        while self._lease.held:
            messages = await listener.next(WAIT_S, BATCH)
            with landing_as_one(stays=True) as landing:  # a channel says nothing twice, also where this bridge stops
                for channel, data in messages:
                    await self._take(channel, data)
            await landing.landed()

    async def _take(self, channel: str, data: bytes) -> None:
        """Passes on what is of a source that is listened to. Two libraries write to channels of the same names."""
        source: Source
        read: Callable[[], Request | None]
        if channel == self._channel:
            source, read = "redis-manager", partial(redis_manager.requests_of, data)
        elif redis_streams_emitter.is_in_channel(data):
            source, read = "redis-streams-emitter", partial(redis_streams_emitter.request_in_channel, data)
        else:
            source, read = "redis-emitter", partial(redis_emitter.requests_of, self._key, channel, data)
        if source in self._sources:
            await self._intake.take(source, read)
