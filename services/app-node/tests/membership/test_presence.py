"""When an app-node is ready."""

import asyncio
from collections.abc import Collection

import pytest

from app_node.interface.server import ClusterServer
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused
from sio_cluster.streams.api.inboxes import InboxEntry
from sio_cluster.streams.api.lanes import LaneEntry
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.memory.entries import MemoryInboxReader
from sio_cluster.streams.memory.lanes import MemoryLaneReader

BEAT_MS = 200


async def accept(sid: str, environ: dict[str, object]) -> None:
    """Without a handler an app-node takes no lanes."""


class UnreadableLanes(MemoryLaneReader):
    """As where the user's rights do not reach."""

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        raise AccessRefused("Redis answered: NOPERM")


class UnreadableBus(MemoryBus):
    def lane_reader(self, node_id: str, max_page_bytes: int = 1_000_000) -> MemoryLaneReader:
        return UnreadableLanes(self.broker, self.keys, node_id, max_page_bytes)


async def test_one_that_cannot_read_its_lanes_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heartbeats, leases and canaries work, so that a deploy would go on to the next app-node."""
    monkeypatch.setattr("sio_cluster.node.retry.STUCK_TRIES", 3)
    config, broker = Config(HEARTBEAT_MS=BEAT_MS, LANES=4), MemoryBroker()
    sio = ClusterServer(config, make_bus=lambda config: UnreadableBus(config, broker))
    sio.on("connect", accept)
    async with sio, asyncio.timeout(10):
        while sio.node.unready_because != "the lanes cannot be read":  # the node tells nobody
            await asyncio.sleep(0.01)
        assert sio.node.membership.presence.proof.stands


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
    """As in an io-node, see io-node/tests/test_readiness.py."""
    config, broker = Config(HEARTBEAT_MS=BEAT_MS, LANES=4), MemoryBroker()
    sio = ClusterServer(config, make_bus=lambda config: SlowInboxBus(config, broker))
    sio.on("connect", accept)
    async with sio, asyncio.timeout(10):
        while sio.node.unready_because:  # the node tells nobody
            await asyncio.sleep(0.01)
