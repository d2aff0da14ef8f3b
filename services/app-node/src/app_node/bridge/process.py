"""A bridge: a server object that only emits, and what makes it emit. Start and stop order."""

import asyncio

import structlog

from app_node.app import BusFactory
from app_node.bridge.channels import Channels
from app_node.bridge.counters import BridgeCounters
from app_node.bridge.intake import Intake
from app_node.bridge.lease import ActiveLease
from app_node.bridge.metrics import families
from app_node.bridge.stream import Stream
from app_node.clock import Clock, steady
from app_node.interface.server import ClusterServer
from app_node.interface.serving import health_app_of, http_server, stop_signals
from sio_cluster.node.loops import Loops
from sio_cluster.node.monitoring.health import Health
from sio_cluster.node.monitoring.loop_lag import watch_loop_lag
from sio_cluster.node.monitoring.metrics import exposition
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused, BusError, ConfigError
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.bridged import BridgedRedis

log = structlog.get_logger()


class Bridge:
    """One bridge. Several may run: one is active, the others wait."""

    def __init__(self, config: Config, *, make_bus: BusFactory = RedisBus, clock: Clock = steady) -> None:
        """No IO here. Raises ConfigError where a setting is wrong."""
        self.config = config
        self.counters = BridgeCounters()
        self.loops = Loops()
        self._clock = clock
        self._sio = ClusterServer(config, make_bus=make_bus, clock=clock)
        self._node = self._sio.node
        self._redis = BridgedRedis(config.bridge_redis_address, Keys(config.redis_prefix), self._node.id)
        self.lease = ActiveLease(self._redis, config.lease_ms, clock, self.counters)
        intake = Intake(self._sio, self.counters, clock)
        self._channels = Channels(self._redis, config, self.lease, intake, self.counters)
        self._stream = Stream(self._redis, config.bridge_stream, self.lease, intake, self.counters)
        self._started = self._stopping = False

    @property
    def id(self) -> str:
        return self._node.id

    async def start(self) -> None:
        """Waits for both Redis. Raises ConfigError where one of them refuses us, or the cluster differs."""
        await self._node.open()
        await Retry("bridge start", self.counters.redis_retries).call(self._greet)
        self.loops.start("loop lag", watch_loop_lag(self._node.counters.durations.loop_lag, self._clock))
        self.loops.start("lease", self.lease.run())
        sources = {*self.config.bridge_sources}
        self.loops.start("channels", self._channels.run())
        if "redis-streams-emitter" in sources:
            self.loops.start("stream", self._stream.run())
        self._started = True
        log.info("bridge_started", node=self.id, sources=sorted(sources))

    async def _greet(self) -> None:
        """Raises ConfigError where the other Redis does not let us in."""
        try:
            await self._redis.position(self.config.bridge_stream)
        except AccessRefused as error:
            raise ConfigError(f"BRIDGE_REDIS_URL: {error}") from error

    async def stop(self) -> None:
        """Reads no more, lets the next bridge go on, and flushes. What a channel says from now on is lost, if there is
        no next one."""
        self._stopping = True
        await self.loops.stop()
        try:
            await self.lease.free()
        except BusError as error:
            log.warning("bridge_lease_not_freed", why=str(error))
        await self._redis.close()
        await self._sio.shutdown()
        log.info("bridge_stopped", node=self.id)

    async def serve(self) -> None:
        """Runs until SIGTERM or SIGINT. Serves HEALTH_PORT. Raises what `start` raises, and what a loop raised."""
        app = health_app_of(
            Health(self.id, lambda: self.loops.dead_because, lambda: self.unready_because, self.metrics)
        )
        with stop_signals() as signalled:
            async with http_server(app, self.config.http_host, self.config.health_port):
                try:
                    await self._run(signalled)
                finally:
                    await self.stop()

    async def _run(self, signalled: asyncio.Event) -> None:
        starting = asyncio.create_task(self.start())
        failing = asyncio.create_task(self.loops.failed.wait())
        stopping = asyncio.create_task(signalled.wait())
        try:
            await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await asyncio.wait((failing, stopping), return_when=asyncio.FIRST_COMPLETED)
            if self.loops.failure is not None:
                raise self.loops.failure
        finally:
            for task in (starting, failing, stopping):
                task.cancel()

    @property
    def unready_because(self) -> str:
        """Why this bridge neither works nor can become active. "" where it does."""
        if self._stopping:
            return "it stops"
        if not self._started:
            return "it starts"
        if why := self.lease.unanswered_because:
            return why
        if self.lease.held and "channels" in self.loops and not self._channels.open:
            return "the channels are not heard"
        return ""

    def metrics(self) -> bytes:
        """All counts of this bridge's life, and those of the app-node that it is."""
        ready = not self.unready_because
        own = families(self.counters, ready=ready, active=self.lease.held)
        return exposition(own) + self._node.metrics(ready=ready)
