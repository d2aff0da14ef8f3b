"""Leases, and reading lanes."""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryBus, MemoryLease
from sio_cluster.streams.redis.lanes import LaneEntry

_DEAD_ENTRIES = 1000


class MemoryLeases:
    """`Leases` in memory."""

    def __init__(self, bus: MemoryBus) -> None:
        self._broker = bus.broker
        self._keys = bus.keys

    async def acquire(self, lane: int, holder: str, lease_ms: int) -> int | None:
        broker = self._broker
        async with broker.operation():
            lease = _lease(broker, lane)
            if lease is not None and lease.holder != holder:
                return None
            stream = broker.streams[self._keys.uplink(lane)]
            stream.reader = holder
            broker.tokens[lane] += 1
            token = broker.tokens[lane]
            broker.leases[lane] = MemoryLease(holder, token, broker.clock() + lease_ms / 1000, stream.delivered)
            broker.holders[lane].add(holder)
        return token

    async def renew(self, tokens: Mapping[int, int], holder: str, lease_ms: int) -> set[int]:
        broker = self._broker
        ours = set()
        async with broker.operation():
            for lane, token in tokens.items():
                lease = _lease(broker, lane)
                if lease is not None and (lease.holder, lease.token) == (holder, token):
                    lease.deadline = broker.clock() + lease_ms / 1000
                    ours.add(lane)
        return ours

    async def bar_former(self, tokens: Mapping[int, int], holder: str) -> set[str]:
        broker = self._broker
        async with broker.operation():
            former = {lane: broker.holders[lane] - {holder} for lane in tokens}
            inboxes = [self._keys.inbox(node) for node in broker.io_nodes]
        barred = set().union(*former.values())
        if not barred:
            return barred
        async with broker.operation():
            for inbox in inboxes:
                for sender in barred:
                    bars = broker.streams[inbox].bars
                    bars[sender] = bars.get(sender, 0) + 1
        async with broker.operation():
            for lane, token in tokens.items():
                lease = _lease(broker, lane)
                if lease is not None and (lease.holder, lease.token) == (holder, token):
                    broker.holders[lane] -= former[lane]
        return barred

    async def release(self, lane: int, holder: str, token: int, *, settled: bool = True) -> None:
        async with self._broker.operation():
            lease = _lease(self._broker, lane)
            if lease is not None and (lease.holder, lease.token) == (holder, token):
                del self._broker.leases[lane]
                if settled:
                    self._broker.holders[lane].discard(holder)


class MemoryLaneReader:
    """`LaneReader` in memory."""

    def __init__(self, bus: MemoryBus, consumer: str) -> None:
        self._broker = bus.broker
        self._keys = bus.keys
        self._consumer = consumer
        self._waiter = asyncio.Event()
        self._reading = False
        self._interrupted = False
        self._claimed: set[int] = set()
        self.doubt: dict[int, int] = {}  # lane: what was given out after this id comes again

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        deadline = time.monotonic() + block_ms / 1000
        self._reading, self._interrupted = True, False
        self._claimed.clear()
        try:
            while True:
                self._waiter.clear()
                await asyncio.sleep(0)
                self._broker.check()
                found = [entry for lane in lanes if lane not in self._claimed for entry in self._take(lane, count)]
                left_s = deadline - time.monotonic()
                if found or self._interrupted or left_s <= 0:
                    return found
                if not self._waiter.is_set():
                    await self._broker.wait(self._waiter, left_s)
        finally:
            self._reading = False

    async def claim(self, lane: int) -> list[LaneEntry]:
        async with self._broker.operation():
            lease = _lease(self._broker, lane)
            if lease is None or lease.holder != self._consumer:
                return []
            stream = self._broker.streams[self._keys.uplink(lane)]
            self.doubt[lane] = lease.claim_until
            self._claimed.add(lane)
            return [
                LaneEntry(lane, _id(number), entry, True)
                for number, entry in stream.entries.items()
                if number <= lease.claim_until
            ]

    async def interrupt(self) -> None:
        async with self._broker.operation():
            if self._reading:
                self._interrupted = True
                self._waiter.set()

    async def commit(self, lane: int, token: int, ids: Sequence[bytes]) -> None:
        async with self._broker.operation():
            self._check_token(lane, token)
            self._broker.streams[self._keys.uplink(lane)].remove([number_of(entry_id) for entry_id in ids])

    async def set_aside(self, lane: int, token: int, entry: LaneEntry, why: str) -> int:
        async with self._broker.operation():
            self._check_token(lane, token)
            dead = self._broker.dead[lane]
            dead.append((entry.entry, why))
            gone = max(0, len(dead) - _DEAD_ENTRIES)
            del dead[:gone]
            self._broker.streams[self._keys.uplink(lane)].remove([number_of(entry.id)])
        return gone

    async def close(self) -> None:
        pass

    def _take(self, lane: int, count: int) -> list[LaneEntry]:
        stream = self._broker.streams[self._keys.uplink(lane)]
        if stream.reader != self._consumer:
            return []
        after = self.doubt.pop(lane, stream.delivered)
        new = [number for number in stream.entries if after < number <= stream.delivered]
        if not new:
            new = [number for number in stream.entries if number > stream.delivered][:count]
        stream.delivered = max([stream.delivered, *new])
        return [LaneEntry(lane, _id(number), stream.entries[number], False) for number in new]

    def _check_token(self, lane: int, token: int) -> None:
        lease = _lease(self._broker, lane)
        if lease is None or lease.token != token:
            raise LeaseLost(f"lane {lane} is no longer held with token {token}")


def _lease(broker: MemoryBroker, lane: int) -> MemoryLease | None:
    """The lane's lease while it runs."""
    lease = broker.leases.get(lane)
    return lease if lease is not None and lease.deadline > broker.clock() else None


def _id(number: int) -> bytes:
    return b"%d-0" % number


def number_of(entry_id: bytes) -> int:
    """An entry's place in its stream."""
    return int(entry_id.partition(b"-")[0])
