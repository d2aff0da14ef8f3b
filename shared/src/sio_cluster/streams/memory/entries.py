"""Appending to streams, and reading an inbox."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import (
    FLUSH_BYTES,
    Append,
    AppendResult,
    Commit,
    Flushed,
    are_written,
    require_distinct,
    require_fitting,
)
from sio_cluster.streams.api.inboxes import InboxEntry, RoomOp
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryLog, MemoryStream
from sio_cluster.streams.memory.lanes import current_lease, number_of
from sio_cluster.streams.memory.records import clients_at

READ_COUNT = 1000


class MemoryAppender:
    """`api.appends.Flusher`."""

    def __init__(self, broker: MemoryBroker, keys: Keys) -> None:
        self._broker = broker
        self._keys = keys

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        require_distinct(appends)
        async with self._broker.operation():
            results = [_append(self._broker, append) for append in appends]
            self._broker.notify()
        return results

    async def flush(self, appends: Sequence[Append], commits: Sequence[Commit]) -> Flushed:
        require_distinct(appends)
        require_fitting(commits)
        if sum(len(append.entry) for append in appends) <= FLUSH_BYTES:
            return await self._flush(appends, commits)
        results = await self.append(appends)
        if not are_written(results):
            return Flushed([], results, committed=False)
        return replace(await self._flush([], commits), appends=results)

    async def _flush(self, appends: Sequence[Append], commits: Sequence[Commit]) -> Flushed:
        async with self._broker.operation():
            lost = [commit.lease for commit in commits if current_lease(self._broker, commit.lease) is None]
            if lost:
                return Flushed(lost, [], committed=False)
            results = [_append(self._broker, append) for append in appends]
            self._broker.notify()
            if not are_written(results):
                return Flushed([], results, committed=False)
            for commit in commits:
                stream = self._broker.streams[self._keys.uplink(commit.lease.lane)]
                stream.remove([number_of(entry_id) for entry_id in commit.ids])
                for entry_id, numbers in commit.notes:
                    stream.done.setdefault(number_of(entry_id), set()).update(numbers)
        return Flushed([], results, committed=True)

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        async with self._broker.operation():
            return [self._broker.streams[stream].held_bytes for stream in streams]

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        async with self._broker.operation():
            return [self._broker.streams[stream].bars.get(node_id, 0) for stream in streams]


class MemoryInboxReader:
    """`api.inboxes.InboxReader`."""

    def __init__(self, broker: MemoryBroker, keys: Keys, node_id: str, *, keeps_log: bool = False) -> None:
        self._broker = broker
        self._node_id = node_id
        self._key = keys.inbox(node_id)
        self._keeps_log = keeps_log
        self._last = 0
        self._last_seq: Mapping[str, int] = {}

    async def read(self, block_ms: int) -> list[InboxEntry]:
        def look() -> list[InboxEntry]:
            stream = self._broker.streams[self._key]
            stream.log = stream.log or MemoryLog(self._node_id)
            return entries_behind(stream, self._last, READ_COUNT)

        entries = await read_on(self._broker, look, block_ms)
        if entries:
            self._last = number_of(entries[-1].id)
        return entries

    async def trim(self) -> None:
        async with self._broker.operation():
            stream = self._broker.streams[self._key]
            stream.give_back(self._last)
            if not self._keeps_log:
                stream.remove([number for number in stream.entries if number <= self._last])

    async def forget_log(self, up_to: bytes, ops: Sequence[RoomOp]) -> None:
        async with self._broker.operation():
            forget(self._broker, self._broker.streams[self._key], number_of(up_to), ops)

    async def forget_silent(self) -> None:
        async with self._broker.operation():
            self._last_seq = forget_silent(self._broker.streams[self._key], self._last_seq)

    async def close(self) -> None:
        pass


async def read_on(broker: MemoryBroker, look: Callable[[], list[InboxEntry]], block_ms: int) -> list[InboxEntry]:
    """What `look` finds, which may be after a while."""
    deadline = time.monotonic() + block_ms / 1000
    waiter = asyncio.Event()
    while True:
        waiter.clear()
        async with broker.operation():
            found = look()
        left_s = deadline - time.monotonic()
        if found or left_s <= 0:
            return found
        if not waiter.is_set():
            await broker.wait(waiter, left_s)


def forget_silent(stream: MemoryStream, last_seq: Mapping[str, int]) -> Mapping[str, int]:
    """Forgets those whose sequence number still is that of `last_seq`. Returns all numbers."""
    known = stream.last_seq
    for node_id, seq in last_seq.items():
        if known.get(node_id) == seq:
            del known[node_id]
    return dict(known)


def entries_behind(stream: MemoryStream, after: int, count: int) -> list[InboxEntry]:
    """The first entries of a stream behind this id."""
    numbers = [number for number in stream.entries if number > after][:count]
    return [InboxEntry(b"%d-0" % number, stream.entries[number]) for number in numbers]


def forget(broker: MemoryBroker, stream: MemoryStream, up_to: int, ops: Sequence[RoomOp]) -> None:
    """Moves the horizon of a home's log."""
    log = stream.log
    if log is None or up_to <= log.horizon:
        return
    stream.remove([number for number in stream.entries if number <= up_to])
    log.horizon = up_to
    known = clients_at(broker, log.home)
    for op in ops:
        if op.sid not in known:
            continue
        rooms = log.rooms.setdefault(op.sid, set())
        if op.inside:
            rooms.add(op.room)
        else:
            rooms.discard(op.room)


def _make_room(stream: MemoryStream, log: MemoryLog, max_bytes: int) -> None:
    """Drops the oldest entries of a parked home."""
    while stream.entries and sum(map(len, stream.entries.values())) > max_bytes:
        log.horizon = log.torn = min(stream.entries)
        stream.remove([log.horizon])


def _append(broker: MemoryBroker, append: Append) -> AppendResult:
    stream = broker.streams[append.stream]
    if append.seq <= stream.last_seq.get(append.node_id, -1):
        return AppendResult.DUPLICATE
    if append.bar != stream.bars.get(append.node_id, 0):
        return AppendResult.BARRED
    account = stream.account
    if append.only_for is not None and account is not None and account.concerns_nobody(append.only_for):
        return AppendResult.NOBODY
    if stream.log is not None and stream.log.parked is not None:
        _make_room(stream, stream.log, stream.log.parked - len(append.entry))
    elif stream.held_bytes and stream.held_bytes + len(append.entry) > append.max_bytes:
        return AppendResult.FULL
    stream.add(append.entry)
    stream.last_seq[append.node_id] = append.seq
    if account is not None:
        account.note(append.lets_into, stream.last_id)
    return AppendResult.APPENDED
