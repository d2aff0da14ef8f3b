"""The bus in memory, for tests: many processes' worth of it over one `MemoryBroker` in place of Redis.

    broker = MemoryBroker()
    io_bus, app_bus = MemoryBus(Config(), broker), MemoryBus(Config(), broker)

The contract suite holds it to the behaviour of `streams.redis`. `broker.go_down()`, `broker.come_back()` and
`broker.lose_replies()` play a Redis that is away or whose answers get lost. A test's own clock plays time.

May import: `streams.api`, `protocol`.
"""

from sio_cluster.streams.memory.broker import MemoryBroker
from sio_cluster.streams.memory.bus import MemoryBus

__all__ = ["MemoryBroker", "MemoryBus"]
