"""Writes changes of client records: those of one tick together, in order.

The lane entry whose handler caused a change is committed only after the change is written.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app_node.counters import Counters
from app_node.downlink.batch import STOPPED
from app_node.lanes.progress import EntryProgress
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import ChangeResult, ClientRecords, Ended, RecordChange

log = structlog.get_logger()

MAX_CHANGES = 1_000
"""How many changes go into one round trip."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """What is to be written; None marks a place in the line. `progress` waits for it, `on_end` is told what became."""

    what: RecordChange | Ended | None
    progress: EntryProgress | None
    on_end: Callable[[ChangeResult], None] | None = None

    @property
    def lease(self) -> Lease | None:
        return None if self.progress is None else self.progress.lane.lease

    @property
    def held(self) -> bool:
        """False: the lane is lost, and its next holder writes this."""
        return self.progress is None or self.progress.lane.held()


class RecordWriter:
    """Takes changes from handlers without making them wait.

    What waits here is bounded by what bounds the lane entries in work. All of it is written in the order in which it
    came, so a client is forgotten after its changes are written.
    """

    def __init__(self, records: ClientRecords, counters: Counters) -> None:
        self._records = records
        self._counters = counters
        self._retry = Retry("records", counters.redis_retries)
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._asked: set[asyncio.Future[ChangeResult]] = set()  # callers that wait
        self._closed = False

    def change(self, change: RecordChange, progress: EntryProgress | None) -> None:
        """Queues a change. `progress`: the lane entry that must wait for it, None outside of handlers."""
        self._put(_Waiting(change, progress))

    async def write(self, change: RecordChange, progress: EntryProgress | None) -> ChangeResult:
        """Queues a change, and returns when it is written, whatever else waits. Raises LeaseLost where it is fenced.

        Raises RuntimeError where the node ends first.
        """
        result = await self._written_by_turn(change, progress)
        if result is ChangeResult.FENCED:
            raise LeaseLost("a record was not changed: another app-node holds the lane")
        return result

    def forget(self, ended: Ended, progress: EntryProgress | None, when_forgotten: Callable[[], None]) -> None:
        """Queues what becomes of a client that has disconnected, and calls `when_forgotten` once its record says so."""
        self._put(_Waiting(ended, progress, lambda _: when_forgotten()))

    async def caught_up(self) -> None:
        """Returns when all that waits now is written. What comes meanwhile is not waited for.

        Raises RuntimeError where the node ends first.
        """
        if not self._idle.is_set():
            await self._written_by_turn(None, None)

    async def emptied(self) -> None:
        """Returns when everything is written."""
        await self._idle.wait()

    def close(self) -> None:
        """The node has ended, and `run` with it: tells all who wait, and all who come later. Idempotent."""
        self._closed = True
        for asked in self._asked:
            if not asked.done():
                asked.set_exception(RuntimeError(STOPPED))

    async def run(self) -> None:
        """A loop for as long as the node lives. Retried while Redis is away: nothing is lost."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(MAX_CHANGES, len(self._waiting)))]
                await self._write(batch)
            self._idle.set()

    async def _written_by_turn(self, change: RecordChange | None, progress: EntryProgress | None) -> ChangeResult:
        if self._closed:
            raise RuntimeError(STOPPED)
        written: asyncio.Future[ChangeResult] = asyncio.get_running_loop().create_future()

        def tell(result: ChangeResult) -> None:
            if not written.done():  # else the caller was cancelled
                written.set_result(result)

        self._asked.add(written)
        try:
            self._put(_Waiting(change, progress, tell))
            return await written
        finally:
            self._asked.discard(written)

    def _put(self, waiting: _Waiting) -> None:
        if waiting.progress is not None:
            waiting.progress.begin()
        self._waiting.append(waiting)
        self._idle.clear()
        self._wake.set()

    async def _write(self, batch: list[_Waiting]) -> None:
        results = await self._written([waiting for waiting in batch if waiting.held])
        for waiting in batch:
            if waiting.on_end is not None:
                waiting.on_end(results.get(waiting, ChangeResult.FENCED))
            if waiting.progress is not None:
                waiting.progress.end()

    async def _written(self, batch: list[_Waiting]) -> dict[_Waiting, ChangeResult]:
        """What became of each. Changes come before removals: a client that is gone changes no more."""
        results = dict.fromkeys(batch, ChangeResult.DONE)
        changes = [(w, w.what) for w in batch if w.what is not None and not isinstance(w.what, Ended)]
        ended = [(w, w.what) for w in batch if isinstance(w.what, Ended)]

        async def once() -> int:
            fenced = 0
            if changes:
                of_changes = await self._records.update([what for _, what in changes], [w.lease for w, _ in changes])
                results.update(zip([w for w, _ in changes], of_changes, strict=True))
                fenced += of_changes.count(ChangeResult.FENCED)
            if ended:
                fenced += await self._records.forget([what for _, what in ended], [w.lease for w, _ in ended])
            return fenced

        fenced = await self._retry.call(once)
        if fenced:  # another app-node holds the lane, and writes these
            self._counters.records_fenced += fenced
            log.warning("records_fenced", number=fenced)
        return results
