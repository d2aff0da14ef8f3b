"""The bus in memory: `api.bus.Bus`."""

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.bus import BusSettings
from sio_cluster.streams.memory.broker import MemoryBroker
from sio_cluster.streams.memory.entries import MemoryAppender, MemoryInboxReader
from sio_cluster.streams.memory.homes import MemoryHomes
from sio_cluster.streams.memory.interest import MemoryInterest
from sio_cluster.streams.memory.lanes import MemoryLaneReader, MemoryLeases
from sio_cluster.streams.memory.passes import MemoryPasses
from sio_cluster.streams.memory.presences import MemoryPresences
from sio_cluster.streams.memory.records import MemoryClientRecords
from sio_cluster.streams.memory.registry import MemoryRegistry
from sio_cluster.streams.memory.room_index import MemoryLookup, MemoryRoomIndex
from sio_cluster.streams.memory.selections import MemorySelections
from sio_cluster.streams.memory.store import MemoryStore


class MemoryBus:
    """One process' way to the cluster that its broker stands for. Several buses share one broker."""

    def __init__(self, settings: BusSettings, broker: MemoryBroker) -> None:
        self.broker = broker
        self.keys = Keys(settings.redis_prefix)
        self.appender = MemoryAppender(broker, self.keys)
        self.leases = MemoryLeases(broker, self.keys)
        self.registry = MemoryRegistry(broker, self.keys, settings.lanes)
        self.records = MemoryClientRecords(broker, self.keys, settings.lanes)
        self.selections = MemorySelections(broker, settings.lanes)
        self.presences = MemoryPresences(broker, settings.lanes)
        self.room_index = MemoryRoomIndex(broker, settings.lanes)
        self.lookup = MemoryLookup(broker)
        self.homes = MemoryHomes(broker, self.keys)
        self.interest = MemoryInterest(broker, self.keys)
        self.store = MemoryStore(broker)
        self.passes = MemoryPasses(broker)

    def inbox_reader(
        self, node_id: str, max_batch_bytes: int = 4_000_000, *, keeps_log: bool = False
    ) -> MemoryInboxReader:
        return MemoryInboxReader(self.broker, self.keys, node_id, keeps_log=keeps_log)

    def lane_reader(self, node_id: str, max_page_bytes: int = 1_000_000) -> MemoryLaneReader:
        return MemoryLaneReader(self.broker, self.keys, node_id, max_page_bytes)

    async def start(self) -> None:
        await self.registry.join_cluster()

    async def stop(self) -> None:
        pass
