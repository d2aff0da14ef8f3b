"""What the contract suite runs on: the real streams, or those in memory, behind one set of names."""

from typing import Any

from sio_cluster.node.config import Config
from sio_cluster.streams.memory import (
    MemoryAppender,
    MemoryBroker,
    MemoryBus,
    MemoryClientRecords,
    MemoryInboxReader,
    MemoryLaneReader,
    MemoryLeases,
    MemoryRegistry,
)
from sio_cluster.streams.redis.appender import Append, Appender, AppendResult
from sio_cluster.streams.redis.bus import Bus
from sio_cluster.streams.redis.inbox import InboxReader
from sio_cluster.streams.redis.lanes import LaneReader
from sio_cluster.streams.redis.leases import Leases
from sio_cluster.streams.redis.records import ClientRecords
from sio_cluster.streams.redis.registry import Registry

_REAL = (Bus, Appender, InboxReader, LaneReader, Leases, Registry, ClientRecords)
_MEMORY = (
    MemoryBus,
    MemoryAppender,
    MemoryInboxReader,
    MemoryLaneReader,
    MemoryLeases,
    MemoryRegistry,
    MemoryClientRecords,
)


class Cluster:
    """Makes the parts under test, each process' on a bus of its own."""

    def __init__(self, config: Config, broker: MemoryBroker | None) -> None:
        self.config = config
        self._broker = broker
        kinds: tuple[Any, ...] = _REAL if broker is None else _MEMORY
        self._bus, self._appender, self._inbox, self._lane, self._leases, self._registry, self._records = kinds
        self._buses: list[Any] = []

    def new_bus(self, config: Config | None = None) -> Any:
        arguments = (config or self.config,) if self._broker is None else (config or self.config, self._broker)
        bus = self._bus(*arguments)
        self._buses.append(bus)
        return bus

    @property
    def keys(self) -> Any:
        return self.new_bus().keys

    def appender(self) -> Any:
        return self._appender(self.new_bus())

    def inbox_reader(self, node_id: str, **options: Any) -> Any:
        return self._inbox(self.new_bus(), node_id, **options)

    def lane_reader(self, consumer: str) -> Any:
        return self._lane(self.new_bus(), consumer)

    def leases(self) -> Any:
        return self._leases(self.new_bus())

    def registry(self) -> Any:
        return self._registry(self.new_bus())

    def records(self) -> Any:
        return self._records(self.new_bus(), self.config.lanes)

    async def stop(self) -> None:
        for bus in self._buses:
            await bus.stop()


class Writer:
    """Appends to one stream as one sender, and counts its sequence numbers."""

    def __init__(self, appender: Any, stream: str, sender: str = "io1-aaaaaa", max_bytes: int = 1 << 20) -> None:
        self._appender, self._stream, self._sender, self._max_bytes = appender, stream, sender, max_bytes
        self.seq = 0

    async def write(self, *entries: bytes) -> list[AppendResult]:
        results = []
        for entry in entries:
            self.seq += 1
            results.append(await self.write_as(self.seq, entry))
        return results

    async def write_as(self, seq: int, entry: bytes) -> AppendResult:
        append = Append(self._stream, self._sender, seq, entry, self._max_bytes)
        [result] = await self._appender.append([append])
        assert isinstance(result, AppendResult)
        return result
