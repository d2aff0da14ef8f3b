"""Connections die at every moment: nothing is lost, doubled or out of order, and all bytes are given back."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import pytest

from sio_cluster.node.retry import Backoff
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import BusUnavailable, LeaseLost
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.lanes import Claimed
from sio_cluster.streams.api.leases import Lease, Leases
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.testing.contract import commit
from sio_cluster.testing.valkey import Valkey, start_valkey

pytestmark = [pytest.mark.timeout(60), pytest.mark.slow]

T = TypeVar("T")
ENTRIES = 300
LANES = range(4)
IO1 = "io1-aaaaaa"


@pytest.fixture
def server() -> Iterator[Valkey]:
    with start_valkey() as server:
        yield server


@pytest.fixture
async def config(server: Valkey) -> AsyncIterator[Config]:
    """While the test runs, somebody closes the connections of all others again and again."""
    config = Config(REDIS_URL=server.url)
    killer = RedisBus(config)
    await killer.start()
    dice = random.Random(7)

    async def kill() -> None:
        while True:
            await asyncio.sleep(dice.uniform(0.001, 0.02))
            await killer.connections.run(("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"))

    killing = asyncio.create_task(kill())
    yield config
    killing.cancel()
    await asyncio.wait([killing])
    await killer.stop()


async def persist(operation: Callable[[], Awaitable[T]]) -> T:
    for wait_s in Backoff(1, 10):
        try:
            return await operation()
        except BusUnavailable:
            await asyncio.sleep(wait_s)
    raise AssertionError("a backoff has no end")


async def acquire(leases: Leases, lane: int, node_id: str, lease_ms: int) -> Lease:
    """The lease of the lane, once it is free."""
    while (lease := await persist(lambda: leases.acquire(lane, node_id, lease_ms))) is None:  # Redis tells nobody
        await asyncio.sleep(0)
    return lease


async def produce(bus: RedisBus, streams: list[str], max_bytes: int) -> None:
    """Numbers 0 to ENTRIES - 1 into each stream, one at a time, retried until they are in."""
    appender = bus.appender
    for number in range(ENTRIES):
        waiting = [Append(stream, IO1, number, b"%d" % number, max_bytes) for stream in streams]
        while waiting:
            appends = waiting
            results = await persist(lambda: appender.append(appends))  # noqa: B023  # called before it changes
            waiting = [a for a, result in zip(appends, results, strict=True) if result is AppendResult.FULL]
            await asyncio.sleep(0)


async def settled(bus: RedisBus, streams: list[str]) -> None:
    """The streams are empty, and so are their accounts."""
    for stream in streams:
        look: list[RedisCommand] = [("XLEN", stream), ("HGET", Keys.state(stream), "bytes")]
        length, held = await persist(lambda: bus.connections.run(*look))  # noqa: B023
        assert (length, held) == (0, b"0")


async def test_a_lane_reader_misses_nothing(config: Config) -> None:
    writer, reader_bus = RedisBus(config), RedisBus(config)
    streams = [writer.keys.uplink(lane) for lane in LANES]
    leases, reader = reader_bus.leases, reader_bus.lane_reader("app-aaaaaa")
    held = {}
    for lane in LANES:
        held[lane] = await acquire(leases, lane, "app-aaaaaa", 600_000)
        assert await persist(lambda: reader.claim(lane)) == Claimed([])  # noqa: B023
    producing = asyncio.create_task(produce(writer, streams, 200))
    seen: dict[int, list[int]] = {lane: [] for lane in LANES}
    while any(len(numbers) < ENTRIES for numbers in seen.values()):
        for entry in await persist(lambda: reader.read(LANES, 1000, 7)):
            seen[entry.lane].append(int(entry.entry))
            await persist(lambda: commit(reader_bus.appender, held[entry.lane], entry))  # noqa: B023
    await producing
    assert seen == {lane: list(range(ENTRIES)) for lane in LANES}
    await settled(writer, streams)
    await asyncio.gather(writer.stop(), reader_bus.stop())


async def test_an_inbox_reader_misses_nothing(config: Config) -> None:
    writer, reader_bus = RedisBus(config), RedisBus(config)
    inbox = writer.keys.inbox(IO1)
    reader = reader_bus.inbox_reader(IO1)
    producing = asyncio.create_task(produce(writer, [inbox], 50))
    seen: list[int] = []
    while len(seen) < ENTRIES:
        seen += [int(entry.entry) for entry in await persist(lambda: reader.read(1000))]
        await persist(reader.trim)
    await producing
    assert seen == list(range(ENTRIES))
    await settled(writer, [inbox])
    await asyncio.gather(writer.stop(), reader_bus.stop())


async def test_holders_that_come_and_go_keep_the_order(config: Config) -> None:
    """Each holder vanishes in the middle of its work: what is committed is all of it, once, in order."""
    writer = RedisBus(config)
    uplink = writer.keys.uplink(0)
    producing = asyncio.create_task(produce(writer, [uplink], 200))
    committed: list[int] = []
    dice = random.Random(3)
    for life in itertools.count():
        if len(committed) >= ENTRIES:
            break
        bus, node_id = RedisBus(config), f"app{life}-aaaaaa"
        committed += await _live(bus, node_id, dice.randrange(1, 20), ENTRIES - len(committed))
        await bus.stop()
    await producing
    assert committed == list(range(ENTRIES))
    await settled(writer, [uplink])
    await writer.stop()


async def _live(bus: RedisBus, node_id: str, span: int, left: int) -> list[int]:
    """Handles some entries, then vanishes with more of them unhandled. What it has committed."""
    leases, reader = bus.leases, bus.lane_reader(node_id, max_page_bytes=8)
    lease = await acquire(leases, 0, node_id, 30)
    committed: list[int] = []
    claimed = await persist(lambda: reader.claim(0))
    entries = claimed.entries
    while len(committed) < min(span, left):
        for entry in entries:
            try:
                await persist(lambda: commit(bus.appender, lease, entry))  # noqa: B023
            except LeaseLost:  # before the commit, or after one whose answer was lost
                uplink = bus.keys.uplink(0)
                [found] = await persist(lambda: bus.connections.run(("XRANGE", uplink, entry.id, entry.id)))  # noqa: B023
                return committed if found else [*committed, int(entry.entry)]
            committed.append(int(entry.entry))
            if len(committed) == span:
                return committed
        if await persist(lambda: leases.renew([lease], 30)) != {0}:
            return committed
        if rest := claimed.rest:
            claimed = await persist(lambda: reader.claim_more(rest))
            entries = claimed.entries
        else:
            entries = await persist(lambda: reader.read([0], 10, 5))
    return committed
