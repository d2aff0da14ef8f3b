"""Holders of lanes, for the contract suite."""

import asyncio
from typing import TypeAlias

from sio_cluster.node.retry import Backoff
from sio_cluster.streams.api.lanes import LaneEntry, LaneReader
from sio_cluster.streams.api.leases import Lease, Leases
from sio_cluster.testing.contract import Cluster, Writer

APP1, APP2, IO1 = "app-aaaaaa", "app-bbbbbb", "io1-aaaaaa"
LONG_MS = 60_000
BLOCK_MS = 10_000

Held: TypeAlias = tuple[LaneReader, Lease, list[LaneEntry]]
"""A reader that holds a lane, its lease, and what it claimed."""


async def acquire(leases: Leases, lane: int, node_id: str, lease_ms: int = LONG_MS) -> Lease:
    """The lease of a lane that is free."""
    lease = await leases.acquire(lane, node_id, lease_ms)
    assert lease is not None
    return lease


async def take(cluster: Cluster, node_id: str, lane: int = 0, lease_ms: int = LONG_MS) -> Held:
    lease = await acquire(cluster.leases(), lane, node_id, lease_ms)
    reader = cluster.lane_reader(node_id)
    return reader, lease, (await reader.claim(lane)).entries


async def take_when_free(cluster: Cluster, node_id: str, lane: int = 0) -> Held:
    """As `take`, once the present lease has run out."""
    leases, backoff = cluster.leases(), Backoff(5, 20)
    async with asyncio.timeout(10):
        while (lease := await leases.acquire(lane, node_id, LONG_MS)) is None:  # Redis tells nobody
            await asyncio.sleep(next(backoff))
    reader = cluster.lane_reader(node_id)
    return reader, lease, (await reader.claim(lane)).entries


def lane_writer(cluster: Cluster, lane: int = 0, max_bytes: int = 1 << 20) -> Writer:
    return Writer(cluster.appender(), cluster.keys.uplink(lane), max_bytes=max_bytes)


def bodies(entries: list[LaneEntry]) -> list[bytes]:
    return [entry.entry for entry in entries]


def ids(entries: list[LaneEntry]) -> list[bytes]:
    return [entry.id for entry in entries]
