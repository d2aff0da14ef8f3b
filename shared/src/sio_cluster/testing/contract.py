"""What the contract suite runs on: buses of one cluster, in Redis or in memory."""

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import COMMIT_IDS, Append, Appender, AppendResult, Commit, Flusher
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.api.homes import Homes, HomeTail
from sio_cluster.streams.api.inboxes import InboxReader
from sio_cluster.streams.api.interest import Interest
from sio_cluster.streams.api.lanes import LaneEntry, LaneReader
from sio_cluster.streams.api.leases import Lease, Leases
from sio_cluster.streams.api.presences import Presences
from sio_cluster.streams.api.records import ClientRecords
from sio_cluster.streams.api.registry import Registry
from sio_cluster.streams.api.room_index import Lookup, RoomIndex
from sio_cluster.streams.api.selections import Selections
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.redis import RedisBus


class Cluster:
    """Makes the parts under test. Each call stands for another process: it makes a bus of its own."""

    def __init__(self, config: Config, broker: MemoryBroker | None) -> None:
        """`broker` None: the cluster is in Redis."""
        self.config = config
        self._broker = broker
        self._buses: list[Bus] = []

    def new_bus(self, config: Config | None = None) -> Bus:
        config = config or self.config
        bus: Bus = RedisBus(config) if self._broker is None else MemoryBus(config, self._broker)
        self._buses.append(bus)
        return bus

    @property
    def keys(self) -> Keys:
        return Keys(self.config.redis_prefix)

    def appender(self) -> Flusher:
        return self.new_bus().appender

    def inbox_reader(self, node_id: str, max_batch_bytes: int = 4_000_000, *, keeps_log: bool = False) -> InboxReader:
        return self.new_bus().inbox_reader(node_id, max_batch_bytes, keeps_log=keeps_log)

    def lane_reader(self, node_id: str, max_page_bytes: int = 1_000_000) -> LaneReader:
        return self.new_bus().lane_reader(node_id, max_page_bytes)

    def leases(self) -> Leases:
        return self.new_bus().leases

    def homes(self) -> Homes:
        return self.new_bus().homes

    def interest(self) -> Interest:
        return self.new_bus().interest

    def registry(self) -> Registry:
        return self.new_bus().registry

    def records(self) -> ClientRecords:
        return self.new_bus().records

    def selections(self) -> Selections:
        return self.new_bus().selections

    def presences(self) -> Presences:
        return self.new_bus().presences

    def room_index(self) -> RoomIndex:
        return self.new_bus().room_index

    def lookup(self) -> Lookup:
        return self.new_bus().lookup

    async def stop(self) -> None:
        for bus in self._buses:
            await bus.stop()


async def commit(appender: Flusher, lease: Lease, *entries: LaneEntry) -> None:
    """Commits entries of one lane, and nothing else. Raises LeaseLost, without effect."""
    for begin in range(0, len(entries), COMMIT_IDS):
        some = entries[begin : begin + COMMIT_IDS]
        done = Commit(lease, [entry.id for entry in some], sum(len(entry.entry) for entry in some))
        flushed = await appender.flush([], [done])
        if flushed.lost:
            raise LeaseLost(f"lane {lease.lane} is no longer held with token {lease.token}")
        assert flushed.committed


async def read_bodies(reader: InboxReader | HomeTail, block_ms: int) -> list[bytes]:
    """What one read of an inbox brings, without the ids."""
    return [entry.entry for entry in await reader.read(block_ms)]


class Writer:
    """Appends to one stream as one node, and counts its sequence numbers."""

    def __init__(self, appender: Appender, stream: str, node_id: str = "io1-aaaaaa", max_bytes: int = 1 << 20) -> None:
        self._appender, self._stream, self._node_id, self._max_bytes = appender, stream, node_id, max_bytes
        self.seq = 0

    async def write(self, *entries: bytes) -> list[AppendResult]:
        results = []
        for entry in entries:
            self.seq += 1
            results.append(await self.write_as(self.seq, entry))
        return results

    async def write_as(self, seq: int, entry: bytes) -> AppendResult:
        append = Append(self._stream, self._node_id, seq, entry, self._max_bytes)
        [result] = await self._appender.append([append])
        return result
