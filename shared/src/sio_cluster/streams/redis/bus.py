"""The bus in Redis: `api.bus.Bus`."""

import structlog

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.bus import BusSettings
from sio_cluster.streams.redis.appender import RedisAppender
from sio_cluster.streams.redis.connection import ANSWER_TIMEOUT_S
from sio_cluster.streams.redis.connections import Connections
from sio_cluster.streams.redis.homes import RedisHomes
from sio_cluster.streams.redis.inbox import RedisInboxReader
from sio_cluster.streams.redis.interest import RedisInterest
from sio_cluster.streams.redis.lanes import RedisLaneReader
from sio_cluster.streams.redis.leases import RedisLeases
from sio_cluster.streams.redis.lookup import RedisLookup
from sio_cluster.streams.redis.passes import RedisPasses
from sio_cluster.streams.redis.presences import RedisPresences
from sio_cluster.streams.redis.records import RedisClientRecords
from sio_cluster.streams.redis.registry import RedisRegistry
from sio_cluster.streams.redis.room_index import RedisRoomIndex
from sio_cluster.streams.redis.selections import RedisSelections
from sio_cluster.streams.redis.store import RedisStore

log = structlog.get_logger()


class RedisBus:
    """One process' way to the cluster in one Redis server (or Valkey)."""

    def __init__(self, settings: BusSettings, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """`timeout_s`: how long an answer of Redis may take. No IO here. ConfigError where the address is malformed."""
        self._prefix = settings.redis_prefix
        self._lanes = settings.lanes
        self.keys = Keys(settings.redis_prefix)
        self.connections = Connections(settings.redis_address, timeout_s)
        self.appender = RedisAppender(self.connections, self.keys, self._lanes)
        self.leases = RedisLeases(self.connections, self.keys)
        self.registry = RedisRegistry(self.connections, self.keys, self._lanes)
        self.records = RedisClientRecords(self.connections, self.keys, self._lanes)
        self.selections = RedisSelections(self.connections, self.keys, self._lanes, self.registry)
        self.presences = RedisPresences(self.connections, self.keys, self._lanes)
        self.room_index = RedisRoomIndex(self.connections, self.keys, self._lanes)
        self.lookup = RedisLookup(settings.redis_address, self.keys, self._lanes)
        self.homes = RedisHomes(self.connections, self.keys, self.records, self.registry)
        self.interest = RedisInterest(self.connections, self.keys)
        self.store = RedisStore(self.connections)
        self.passes = RedisPasses(self.connections, self.keys)

    def inbox_reader(
        self, node_id: str, max_batch_bytes: int = 4_000_000, *, keeps_log: bool = False
    ) -> RedisInboxReader:
        return RedisInboxReader(self.connections, self.keys, node_id, max_batch_bytes, keeps_log=keeps_log)

    def lane_reader(self, node_id: str, max_page_bytes: int = 1_000_000) -> RedisLaneReader:
        return RedisLaneReader(self.connections, self.keys, self._lanes, node_id, max_page_bytes)

    async def start(self) -> None:
        await self._look_at_redis()
        await self.registry.join_cluster()
        await self._warn_of_eviction()
        log.debug("bus_started", prefix=self._prefix, lanes=self._lanes)

    async def _look_at_redis(self) -> None:
        """Two commands without effect, so that a Redis which cannot serve us refuses at once, and not later."""
        # A Redis Cluster refuses keys of two slots, also one of a single server.
        two_slots = ("EXISTS", self.keys.config, self.keys.epoch)
        a_write = ("HDEL", self.keys.config, "")  # a replica refuses, and where our user may only read
        await self.connections.run(two_slots, a_write)

    async def stop(self) -> None:
        self.lookup.close()
        await self.connections.close()

    async def _warn_of_eviction(self) -> None:
        """Says so where a full Redis removes keys instead of refusing writes: events and leases would be lost."""
        memory = await self.store.memory()
        if memory is not None and memory.policy != "noeviction" and memory.limit_bytes:
            log.warning("redis_may_evict", policy=memory.policy, maxmemory=memory.limit_bytes)
