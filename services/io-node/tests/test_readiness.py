"""When an io-node is ready."""

import asyncio

from io_node.app import IoNode
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.api.inboxes import InboxEntry
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.memory.entries import MemoryInboxReader

BEAT_MS = 200


class SlowInbox(MemoryInboxReader):
    """What it reads comes two and a half beats late."""

    async def read(self, block_ms: int) -> list[InboxEntry]:
        entries = await super().read(block_ms)
        await asyncio.sleep(2.5 * BEAT_MS / 1000)
        return entries


class SlowInboxBus(MemoryBus):
    def inbox_reader(
        self, node_id: str, max_batch_bytes: int = 4_000_000, *, keeps_log: bool = False
    ) -> MemoryInboxReader:
        return SlowInbox(self.broker, self.keys, node_id, keeps_log=keeps_log)


async def test_an_inbox_slower_than_one_beat_and_faster_than_three_is_ready() -> None:
    """As in an app-node, see app-node/tests/membership/test_presence.py."""
    broker = MemoryBroker()
    config = Config(HEARTBEAT_MS=BEAT_MS, LANES=4)
    node = IoNode(config, bus=lambda config: SlowInboxBus(config, broker), settle_ms=20)
    running = asyncio.create_task(node.run())
    async with asyncio.timeout(10):
        while node.unready_because:  # the node tells nobody
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
