"""Writes changes of client records: those of one tick together, in order.

The lane entry whose handler caused a change is committed only after the change is written.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from app_node.counters import Counters
from app_node.lanes.progress import EntryProgress
from sio_cluster.node.retry import Retry
from sio_cluster.streams.api import ClientRecords, Lease, RecordChange

log = structlog.get_logger()

MAX_CHANGES = 1_000
"""How many changes go into one round trip."""

_T = TypeVar("_T")


class RecordWriter:
    """Takes changes from handlers without making them wait.

    What waits here is bounded by what bounds the lane entries in work. A client is forgotten after its changes are
    written.
    """

    def __init__(self, records: ClientRecords, counters: Counters) -> None:
        self._records = records
        self._counters = counters
        self._retry = Retry("records", counters.redis_retries)
        self._changes: list[tuple[RecordChange, EntryProgress | None]] = []
        self._forgotten: list[tuple[str, EntryProgress | None, Callable[[], None]]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def change(self, change: RecordChange, progress: EntryProgress | None) -> None:
        """Queues a change. `progress`: the lane entry that must wait for it, None outside of handlers."""
        if progress is not None:
            progress.begin()
        self._changes.append((change, progress))
        self._idle.clear()
        self._wake.set()

    def forget(self, sid: str, progress: EntryProgress | None, when_forgotten: Callable[[], None]) -> None:
        """Queues the removal of a client's record, and calls `when_forgotten` once it is gone."""
        if progress is not None:
            progress.begin()
        self._forgotten.append((sid, progress, when_forgotten))
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Returns when everything is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """A loop for as long as the node lives. Retried while Redis is away: nothing is lost."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changes or self._forgotten:
                changes, self._changes = self._changes[:MAX_CHANGES], self._changes[MAX_CHANGES:]
                last = not self._changes
                forgotten, self._forgotten = (self._forgotten, []) if last else ([], self._forgotten)
                await self._write(
                    [(change, _lease(progress)) for change, progress in changes if _held(progress)],
                    [(sid, _lease(progress)) for sid, progress, _ in forgotten if _held(progress)],
                )
                for _, _, when_forgotten in forgotten:
                    when_forgotten()
                for progress in (*[progress for _, progress in changes], *[progress for _, progress, _ in forgotten]):
                    if progress is not None:
                        progress.end()
            self._idle.set()

    async def _write(
        self, changes: list[tuple[RecordChange, Lease | None]], forgotten: list[tuple[str, Lease | None]]
    ) -> None:
        async def once() -> int:
            fenced = 0
            if changes:
                fenced += await self._records.update(*_unzipped(changes))
            if forgotten:
                fenced += await self._records.forget(*_unzipped(forgotten))
            return fenced

        fenced = await self._retry.call(once)
        if fenced:  # another app-node holds the lane, and writes these
            self._counters.records_fenced += fenced
            log.warning("records_fenced", number=fenced)


def _unzipped(pairs: list[tuple[_T, Lease | None]]) -> tuple[list[_T], list[Lease | None]]:
    return [what for what, _ in pairs], [lease for _, lease in pairs]


def _lease(progress: EntryProgress | None) -> Lease | None:
    return None if progress is None else progress.lane.lease


def _held(progress: EntryProgress | None) -> bool:
    return progress is None or progress.lane.held()
