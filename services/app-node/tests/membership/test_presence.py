"""When an app-node is ready."""

import asyncio

from app_node.interface.server import ClusterServer
from sio_cluster.node.config import Config
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.memory.entries import MemoryInboxReader

BEAT_MS = 200


class SlowInbox(MemoryInboxReader):
    """What it reads comes two and a half beats late."""

    async def read(self, block_ms: int) -> list[bytes]:
        entries = await super().read(block_ms)
        await asyncio.sleep(2.5 * BEAT_MS / 1000)
        return entries


class SlowInboxBus(MemoryBus):
    def inbox_reader(self, node_id: str, max_batch_bytes: int = 4_000_000) -> MemoryInboxReader:
        return SlowInbox(self.broker, self.keys, node_id)


async def test_an_inbox_slower_than_one_beat_and_faster_than_three_is_ready() -> None:
    """As in an io-node, see io-node/tests/test_readiness.py."""
    config, broker = Config(HEARTBEAT_MS=BEAT_MS, LANES=4), MemoryBroker()
    async with ClusterServer(config, make_bus=lambda config: SlowInboxBus(config, broker)) as sio, asyncio.timeout(10):
        while sio.node.unready_because:  # noqa: ASYNC110  # the node tells nobody
            await asyncio.sleep(0.01)
