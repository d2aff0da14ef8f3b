"""Changes of client records, gathered per tick and written in order, each before its lane entry is committed."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import structlog

from app_node.counters import Counters
from app_node.lanes.progress import Scope
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.streams.redis.records import RecordChange, Under

log = structlog.get_logger()

MAX_CHANGES = 1_000

_T = TypeVar("_T")


class Changes(Protocol):
    async def update(self, changes: Sequence[RecordChange], under: Sequence[Under | None]) -> int: ...

    async def forget(self, sids: Sequence[str], under: Sequence[Under | None]) -> int: ...


class RecordWriter:
    """Writes without making a handler wait. Bounded by what bounds the lane entries in work.

    A client's forgetting comes after its changes: both wait in one queue.
    """

    def __init__(self, records: Changes, counters: Counters) -> None:
        self._records = records
        self._counters = counters
        self._changes: list[tuple[RecordChange, Scope | None]] = []
        self._forgotten: list[tuple[str, Scope | None, Callable[[], None]]] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def change(self, change: RecordChange, scope: Scope | None) -> None:
        if scope is not None:
            scope.begin()
        self._changes.append((change, scope))
        self._idle.clear()
        self._wake.set()

    def forget(self, sid: str, scope: Scope | None, when_forgotten: Callable[[], None]) -> None:
        """Removes the record of a client that is gone."""
        if scope is not None:
            scope.begin()
        self._forgotten.append((sid, scope, when_forgotten))
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Returns when everything is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Writes for ever; waits out Redis' absence."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._changes or self._forgotten:
                changes, self._changes = self._changes[:MAX_CHANGES], self._changes[MAX_CHANGES:]
                last = not self._changes
                forgotten, self._forgotten = (self._forgotten, []) if last else ([], self._forgotten)
                await self._write(
                    [(change, _lease(scope)) for change, scope in changes if _held(scope)],
                    [(sid, _lease(scope)) for sid, scope, _ in forgotten if _held(scope)],
                )
                for _, _, when_forgotten in forgotten:
                    when_forgotten()
                for scope in (*[scope for _, scope in changes], *[scope for _, scope, _ in forgotten]):
                    if scope is not None:
                        scope.end()
            self._idle.set()

    async def _write(
        self, changes: list[tuple[RecordChange, Under | None]], forgotten: list[tuple[str, Under | None]]
    ) -> None:
        backoff = Backoff()
        while True:
            try:
                fenced = 0
                if changes:
                    fenced += await self._records.update(*_unzipped(changes))
                if forgotten:
                    fenced += await self._records.forget(*_unzipped(forgotten))
            except (BusUnavailable, BusRefused) as error:
                wait = next(backoff)
                self._counters.add("retries.records")
                log.warning("records_retry", error=str(error), wait_ms=round(wait * 1000))
                await asyncio.sleep(wait)
            else:
                if fenced:  # another app-node holds the lane, and writes these
                    self._counters.add("records_fenced", fenced)
                    log.warning("records_fenced", number=fenced)
                return


def _unzipped(pairs: list[tuple[_T, Under | None]]) -> tuple[list[_T], list[Under | None]]:
    return [what for what, _ in pairs], [lease for _, lease in pairs]


def _lease(scope: Scope | None) -> Under | None:
    return None if scope is None else scope.lane.lease


def _held(scope: Scope | None) -> bool:
    return scope is None or scope.lane.held()
