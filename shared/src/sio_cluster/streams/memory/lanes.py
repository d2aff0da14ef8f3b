"""Leases, and reading lanes."""

import asyncio
import itertools
import time
from collections.abc import Collection, Sequence

from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.ids import is_quarantine, lane_behind, quarantine_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.lanes import DEAD_LETTERS_KEPT, PAGE_ENTRIES, Claimed, Counted, LaneEntry, Unclaimed
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryLease, MemoryStream, MemoryTakeovers


class MemoryLeases:
    """`api.leases.Leases`."""

    def __init__(self, broker: MemoryBroker, keys: Keys) -> None:
        self._broker = broker
        self._keys = keys

    async def acquire(self, lane: int, node_id: str, lease_ms: int, *, stood_still: bool = False) -> Lease | None:
        broker = self._broker
        async with broker.operation():
            current = _lease(broker, lane)
            if current is not None and current.node_id != node_id:
                return None
            stream = broker.streams[self._keys.uplink(lane)]
            stream.reader = node_id
            broker.tokens[lane] += 1
            token = broker.tokens[lane]
            broker.leases[lane] = MemoryLease(node_id, token, broker.clock() + lease_ms / 1000, stream.delivered)
            broker.holders[lane].add(node_id)
            takeovers = broker.takeovers[lane]
            if takeovers.last is not None and (stood_still or takeovers.last != node_id):
                given = stream.delivered if takeovers.given is None else takeovers.given
                counted = _counted(takeovers).taken_over((given, 0))
                broker.takeovers[lane] = MemoryTakeovers(once=counted.once[0], twice=counted.twice[0])
        return Lease(lane, node_id, token)

    async def renew(self, leases: Collection[Lease], lease_ms: int) -> set[int]:
        ours = set()
        async with self._broker.operation():
            for lease in leases:
                current = current_lease(self._broker, lease)
                if current is not None:
                    current.deadline = self._broker.clock() + lease_ms / 1000
                    ours.add(lease.lane)
        return ours

    async def bar_former(self, leases: Collection[Lease]) -> set[str]:
        broker = self._broker
        async with broker.operation():
            former = {lease: broker.holders[lease.lane] - {lease.node_id} for lease in leases}
            inboxes = [self._keys.inbox(node) for node in (*broker.io_nodes, *broker.parked_io_nodes)]
        barred: set[str] = set().union(*former.values())
        if not barred:
            return barred
        async with broker.operation():
            for inbox in inboxes:
                for node_id in barred:
                    bars = broker.streams[inbox].bars
                    bars[node_id] = bars.get(node_id, 0) + 1
        async with broker.operation():
            for lease in leases:
                if current_lease(broker, lease) is not None:
                    broker.holders[lease.lane] -= former[lease]
        return barred

    async def release(self, lease: Lease, *, settled: bool = True) -> None:
        async with self._broker.operation():
            if current_lease(self._broker, lease) is not None:
                del self._broker.leases[lease.lane]
                takeovers = self._broker.takeovers[lease.lane]
                takeovers.last = takeovers.given = None
                if settled:
                    self._broker.holders[lease.lane].discard(lease.node_id)


class MemoryLaneReader:
    """`api.lanes.LaneReader`."""

    def __init__(self, broker: MemoryBroker, keys: Keys, node_id: str, max_page_bytes: int) -> None:
        self._broker = broker
        self._keys = keys
        self._node_id = node_id
        self._max_page_bytes = max_page_bytes
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

    async def claim(self, lane: int) -> Claimed:
        async with self._broker.operation():
            lease = _lease(self._broker, lane)
            if lease is None or lease.node_id != self._node_id:
                return Claimed([])
            self.doubt[lane] = lease.claim_until
            self._claimed.add(lane)
            return self._claim(lane, lease, after=0)

    async def claim_more(self, rest: Unclaimed) -> Claimed:
        async with self._broker.operation():
            lease = current_lease(self._broker, Lease(rest.lane, self._node_id, rest.token))
            return Claimed([]) if lease is None else self._claim(rest.lane, lease, after=number_of(rest.after))

    async def peek(self, lane: int, count: int = PAGE_ENTRIES, after: bytes = b"") -> list[LaneEntry]:
        async with self._broker.operation():
            stream = self._broker.streams[self._keys.uplink(lane)]
            behind = [number for number in stream.entries if number > (number_of(after) if after else 0)]
            return [_new(lane, number, stream.entries[number]) for number in self._page(stream, behind)[:count]]

    async def interrupt(self) -> None:
        async with self._broker.operation():
            if self._reading:
                self._interrupted = True
                self._waiter.set()

    async def quarantine(self, lease: Lease, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        async with self._broker.operation():
            self._check(lease)
            lane = self._broker.streams[self._keys.uplink(lease.lane)]
            quarantine = self._broker.streams[self._keys.uplink(quarantine_of(lease.lane))]
            for entry_id, parts in moves:
                if number_of(entry_id) in lane.entries:
                    lane.remove([number_of(entry_id)])
                    for part in parts:
                        quarantine.add(part)

    async def set_aside(self, lease: Lease, entry: LaneEntry, why: str) -> int:
        async with self._broker.operation():
            self._check(lease)
            stream = self._broker.streams[self._keys.uplink(lease.lane)]
            if number_of(entry.id) not in stream.entries:
                return 0
            dead = self._broker.dead[lane_behind(lease.lane)]
            dead.append((entry.entry, why))
            gone = max(0, len(dead) - DEAD_LETTERS_KEPT)
            del dead[:gone]
            stream.remove([number_of(entry.id)])
        return gone

    async def close(self) -> None:
        pass

    def _claim(self, lane: int, lease: MemoryLease, after: int) -> Claimed:
        stream = self._broker.streams[self._keys.uplink(lane)]
        left = [number for number in stream.entries if after < number <= lease.claim_until]
        page = self._page(stream, left)
        more = len(page) < len(left)
        takeovers = self._broker.takeovers[lane]
        takeovers.last, takeovers.given = self._node_id, page[-1] if more else None
        counted = _counted(takeovers)
        entries = [
            LaneEntry(
                lane,
                _id(number),
                stream.entries[number],
                True,
                counted.of(lane, (number, 0)),
                frozenset(stream.done.get(number, ())),
            )
            for number in page
        ]
        return Claimed(entries, Unclaimed(lane, lease.token, _id(page[-1])) if more else None)

    def _page(self, stream: MemoryStream, numbers: list[int]) -> list[int]:
        """The first of these entries that fit into one page."""
        sizes = itertools.accumulate(len(stream.entries[number]) for number in numbers[:PAGE_ENTRIES])
        fitting = sum(size <= self._max_page_bytes for size in sizes)
        return numbers[: max(1, fitting)]

    def _take(self, lane: int, count: int) -> list[LaneEntry]:
        stream = self._broker.streams[self._keys.uplink(lane)]
        if stream.reader != self._node_id:
            return []
        after = self.doubt.pop(lane, stream.delivered)
        new = [number for number in stream.entries if after < number <= stream.delivered]
        if not new:
            new = [number for number in stream.entries if number > stream.delivered][:count]
        stream.delivered = max([stream.delivered, *new])
        return [_new(lane, number, stream.entries[number]) for number in new]

    def _check(self, lease: Lease) -> None:
        if current_lease(self._broker, lease) is None:
            raise LeaseLost(f"lane {lease.lane} is no longer held with token {lease.token}")


def _lease(broker: MemoryBroker, lane: int) -> MemoryLease | None:
    """The lane's lease while it runs."""
    lease = broker.leases.get(lane)
    return lease if lease is not None and lease.deadline > broker.clock() else None


def current_lease(broker: MemoryBroker, lease: Lease) -> MemoryLease | None:
    """The lane's lease if it runs and is this one."""
    current = _lease(broker, lease.lane)
    return current if current is not None and (current.node_id, current.token) == (lease.node_id, lease.token) else None


def _counted(takeovers: MemoryTakeovers) -> Counted:
    return Counted((takeovers.once, 0), (takeovers.twice, 0))


def _new(lane: int, number: int, entry: bytes) -> LaneEntry:
    """An entry that nobody was given. One in a quarantine has a past."""
    in_quarantine = is_quarantine(lane)
    return LaneEntry(lane, _id(number), entry, in_quarantine, 2 if in_quarantine else 0)


def _id(number: int) -> bytes:
    return b"%d-0" % number


def number_of(entry_id: bytes) -> int:
    """An entry's place in its stream."""
    return int(entry_id.partition(b"-")[0])
