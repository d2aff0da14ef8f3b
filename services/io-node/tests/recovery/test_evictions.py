"""Other io-nodes are told which connections to close."""

from collections import Counter

from io_node.recovery.evictions import Evictions
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.messages import Evict
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

from ..bus.fakes import running
from .cluster import until


class World:
    def __init__(self, max_bytes: int = 1_000_000) -> None:
        self.broker = MemoryBroker()
        self.bus = MemoryBus(config_of(), self.broker)
        self.retries: Counter[str] = Counter()
        self.evictions = Evictions(
            "io1-aaaaaa",
            self.bus.keys,
            appender=self.bus.appender,
            max_bytes=max_bytes,
            retry=Retry("evictions", self.retries),
        )

    def sent(self, io_node: str) -> list[object]:
        entries = self.broker.streams[self.bus.keys.inbox(io_node)].entries.values()
        return [command for entry in entries for command in decode_downlink(entry).commands]


async def test_those_that_come_together_are_one_entry() -> None:
    world = World()
    evicts = [Evict(f"sid{number}", number) for number in range(10)]
    for evict in evicts:
        world.evictions.put("io2-aaaaaa", evict)
    world.evictions.put("io3-aaaaaa", evicts[0])
    async with running(world.evictions.run):
        await until(lambda: world.sent("io3-aaaaaa") == [evicts[0]])
        assert world.sent("io2-aaaaaa") == evicts
        assert len(world.broker.streams[world.bus.keys.inbox("io2-aaaaaa")].entries) == 1
        world.evictions.put("io2-aaaaaa", evicts[0])
        await until(lambda: len(world.sent("io2-aaaaaa")) == 11)


async def test_a_full_inbox_does_not_hold_up_the_others() -> None:
    world = World(max_bytes=100)
    inbox = world.broker.streams[world.bus.keys.inbox("io2-aaaaaa")]
    inbox.add(bytes(100))
    world.evictions.put("io2-aaaaaa", Evict("a", 1))
    world.evictions.put("io3-aaaaaa", Evict("b", 1))
    async with running(world.evictions.run):
        await until(lambda: world.sent("io3-aaaaaa") == [Evict("b", 1)])
        world.evictions.put("io2-aaaaaa", Evict("c", 1))
        inbox.remove([1])
        await until(lambda: world.sent("io2-aaaaaa") == [Evict("a", 1), Evict("c", 1)])


async def test_redis_away() -> None:
    world = World()
    world.broker.go_down()
    world.evictions.put("io2-aaaaaa", Evict("a", 1))
    async with running(world.evictions.run):
        await until(lambda: world.retries["evictions"] > 1)
        world.broker.come_back()
        await until(lambda: world.sent("io2-aaaaaa") == [Evict("a", 1)])
