"""The streams that an app-node works with, as its parts ask for them: Redis, or the verified fakes in a test."""

from dataclasses import dataclass
from typing import Protocol

from app_node.downlink import outbox, record_writer, routes
from app_node.lanes.keeper import Claiming, Leasing
from app_node.membership import presence, reaper
from app_node.uplink import answers as inbox
from app_node.uplink import consumer
from sio_cluster.node.config import Config
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.appender import Appender
from sio_cluster.streams.redis.bus import Bus
from sio_cluster.streams.redis.inbox import InboxReader
from sio_cluster.streams.redis.lanes import LaneReader
from sio_cluster.streams.redis.leases import Leases
from sio_cluster.streams.redis.records import ClientRecord, ClientRecords, Under
from sio_cluster.streams.redis.registry import Registry


class BusLike(Protocol):
    @property
    def keys(self) -> Keys: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class Closing(Protocol):
    async def close(self) -> None: ...


class InboxLike(inbox.Reading, Closing, Protocol): ...


class LanesLike(consumer.Reading, Claiming, Closing, Protocol): ...


class RegistryLike(presence.Registering, routes.IoNodes, reaper.Nodes, Protocol):
    async def next_epoch(self) -> int: ...


class RecordsLike(record_writer.Changes, reaper.Records, Protocol):
    async def load(self, sid: str) -> ClientRecord | None: ...

    async def save_session(self, sid: str, session: bytes, under: Under | None) -> bool: ...

    async def load_session(self, sid: str) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Streams:
    """One of each, over one bus."""

    bus: BusLike
    appender: outbox.Appends
    inbox: InboxLike
    lanes: LanesLike
    leases: Leasing
    registry: RegistryLike
    records: RecordsLike


def redis_streams(config: Config, node_id: str) -> Streams:
    """The real ones. Does no IO."""
    bus = Bus(config)
    return Streams(
        bus,
        Appender(bus),
        InboxReader(bus, node_id),
        LaneReader(bus, node_id),
        Leases(bus),
        Registry(bus),
        ClientRecords(bus, config.lanes),
    )
