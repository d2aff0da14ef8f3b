"""Uplinks on the bus in memory, and on one that can fail."""

from collections import Counter
from collections.abc import Collection, Sequence

from io_node.backpressure import Backpressure
from io_node.bus.counters import BusCounters
from io_node.bus.fairness import Fairness
from io_node.bus.uplink import Uplink, UplinkLimits
from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.codec import decode_uplink
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.messages import Fact
from sio_cluster.streams.api.appends import Append, Appender, AppendResult
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

from .fakes import KEYS, NODE

APP = "app1-bbbbbb"


def make_uplink(
    bus: Bus,
    limits: UplinkLimits,
    *,
    appender: Appender,
    counters: BusCounters,
    backpressure: Backpressure,
    gone: Collection[str] = (),
    only_emits: Collection[str] = (),
    fair_bytes: int = 64_000,
) -> Uplink:
    """`appender` may stand in front of that of the bus. Who `only_emits` lives, and is not registered."""

    async def is_alive(node_id: str) -> bool:
        return node_id in only_emits

    return Uplink(
        NODE,
        bus.keys,
        limits,
        appender=appender,
        records=bus.records,
        counters=counters,
        backpressure=backpressure,
        fairness=Fairness(appender, fair_bytes, backpressure=backpressure, retry=Retry("fairness", Counter())),
        retry=Retry("uplink", counters.redis_retries),
        is_gone=lambda node_id: node_id in gone or node_id in only_emits,
        is_alive=is_alive,
        waits=Histogram(),
    )


class World:
    """An uplink over the memory broker."""

    def __init__(self, *, buffer_bytes: int = 1_000_000, lane_max_bytes: int = 1_000_000) -> None:
        self.broker = MemoryBroker()
        self.gone: set[str] = set()
        self.only_emits: set[str] = set()
        self.now = 0.0
        self.counters = BusCounters()
        bus = MemoryBus(config_of(), self.broker)
        self.refuse_with: BusError | None = None
        self._appender = bus.appender
        self.backpressure = Backpressure()
        self.uplink = make_uplink(
            bus,
            UplinkLimits(buffer_bytes, lane_max_bytes, lane_max_bytes),
            appender=self,
            counters=self.counters,
            backpressure=self.backpressure,
            gone=self.gone,
            only_emits=self.only_emits,
        )

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        if self.refuse_with is not None:
            raise self.refuse_with
        return await self._appender.append(appends)

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        return await self._appender.held_bytes(streams)

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        return await self._appender.bars(streams, node_id)

    def lane(self, lane: int) -> list[Fact]:
        entries = self.broker.streams[KEYS.uplink(lane)].entries.values()
        return [fact for entry in entries for fact in decode_uplink(entry).facts]

    def empty_lane(self, lane: int) -> bool:
        """As the application does by committing. False."""
        stream = self.broker.streams[KEYS.uplink(lane)]
        stream.remove(list(stream.entries))
        return False
