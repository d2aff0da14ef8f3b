"""What an io-node needs of the bus: as Redis gives it, or as a test's fakes do."""

from dataclasses import dataclass
from typing import Protocol

from io_node.bus.downlink import Inbox
from io_node.bus.presence import Nodes
from io_node.bus.restore import Records
from io_node.bus.uplink import Appends
from sio_cluster.node.config import Config
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.appender import Appender
from sio_cluster.streams.redis.bus import Bus
from sio_cluster.streams.redis.inbox import InboxReader
from sio_cluster.streams.redis.records import ClientRecords
from sio_cluster.streams.redis.registry import Registry


class Link(Protocol):
    """The connections to Redis."""

    @property
    def keys(self) -> Keys: ...

    async def start(self) -> None:
        """Raises ClusterMismatch, BusUnavailable or BusRefused."""

    async def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class BusParts:
    link: Link
    appender: Appends
    inbox: Inbox
    nodes: Nodes
    records: Records


def redis_parts(config: Config, node_id: str) -> BusParts:
    """No IO yet."""
    bus = Bus(config)
    return BusParts(
        link=bus,
        appender=Appender(bus),
        inbox=InboxReader(bus, node_id),
        nodes=Registry(bus),
        records=ClientRecords(bus, config.lanes),
    )
