"""Appending to streams, and reading an inbox."""

import asyncio
import time
from collections.abc import Sequence
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
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryStream
from sio_cluster.streams.memory.lanes import current_lease, number_of

_READ_COUNT = 1000


class MemoryAppender:
    """`api.appends.Flusher`."""

    def __init__(self, broker: MemoryBroker, keys: Keys) -> None:
        self._broker = broker
        self._keys = keys

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        require_distinct(appends)
        async with self._broker.operation():
            results = [_append(self._broker.streams[append.stream], append) for append in appends]
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
            results = [_append(self._broker.streams[append.stream], append) for append in appends]
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

    def __init__(self, broker: MemoryBroker, keys: Keys, node_id: str) -> None:
        self._broker = broker
        self._key = keys.inbox(node_id)
        self._last = 0
        self._last_seq: dict[str, int] = {}

    async def read(self, block_ms: int) -> list[bytes]:
        deadline = time.monotonic() + block_ms / 1000
        waiter = asyncio.Event()
        while True:
            waiter.clear()
            async with self._broker.operation():
                stream = self._broker.streams[self._key]
                found = [(number, entry) for number, entry in stream.entries.items() if number > self._last]
            if found:
                self._last = found[:_READ_COUNT][-1][0]
                return [entry for _, entry in found[:_READ_COUNT]]
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return []
            if not waiter.is_set():
                await self._broker.wait(waiter, left_s)

    async def trim(self) -> None:
        async with self._broker.operation():
            stream = self._broker.streams[self._key]
            stream.remove([number for number in stream.entries if number <= self._last])

    async def forget_silent(self) -> None:
        async with self._broker.operation():
            known = self._broker.streams[self._key].last_seq
            for node_id, seq in self._last_seq.items():
                if known.get(node_id) == seq:
                    del known[node_id]
            self._last_seq = dict(known)

    async def close(self) -> None:
        pass


def _append(stream: MemoryStream, append: Append) -> AppendResult:
    if append.seq <= stream.last_seq.get(append.node_id, -1):
        return AppendResult.DUPLICATE
    if append.bar != stream.bars.get(append.node_id, 0):
        return AppendResult.BARRED
    if stream.held_bytes and stream.held_bytes + len(append.entry) > append.max_bytes:
        return AppendResult.FULL
    stream.add(append.entry)
    stream.last_seq[append.node_id] = append.seq
    return AppendResult.APPENDED
