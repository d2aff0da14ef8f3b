"""The streams in memory: the same classes with the same signatures, over one `MemoryBroker` in place of Redis.

    broker = MemoryBroker()
    io_bus, app_bus = MemoryBus(Config(), broker), MemoryBus(Config(), broker)
    appender, reader = MemoryAppender(io_bus), MemoryLaneReader(app_bus, "app-aaaaaa")

The contract suite holds them to the behaviour of the real ones. `broker.go_down()`, `broker.come_back()` and
`broker.lose_replies()` play a Redis that is away or whose answers get lost; a test's own clock plays time.
"""

from sio_cluster.streams.memory.broker import MemoryBroker, MemoryBus
from sio_cluster.streams.memory.entries import MemoryAppender, MemoryInboxReader
from sio_cluster.streams.memory.lanes import MemoryLaneReader, MemoryLeases
from sio_cluster.streams.memory.records import MemoryClientRecords
from sio_cluster.streams.memory.registry import MemoryRegistry

__all__ = [
    "MemoryAppender",
    "MemoryBroker",
    "MemoryBus",
    "MemoryClientRecords",
    "MemoryInboxReader",
    "MemoryLaneReader",
    "MemoryLeases",
    "MemoryRegistry",
]
