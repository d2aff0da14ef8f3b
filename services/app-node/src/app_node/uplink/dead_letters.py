"""Moves entries that cannot be handled to the dead letters of their lane."""

import asyncio
from collections.abc import Callable

import structlog

from app_node.counters import Counters
from app_node.lanes.lane import Lane
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.streams.api.lanes import LaneEntry, LaneReader

log = structlog.get_logger()


class DeadLetters:
    """Each move is a task of its own. Retried while Redis is away and the lane is ours."""

    def __init__(self, reader: LaneReader, counters: Counters) -> None:
        self._reader = reader
        self._counters = counters
        self._retry = Retry("dead_letters", counters.redis_retries)
        self._moving: set[asyncio.Task[None]] = set()

    def put(self, lane: Lane, entry: LaneEntry, why: str, when_put: Callable[[], None]) -> None:
        """Begins to move the entry, and calls `when_put` once it is moved. Nothing more happens if the lane is lost."""
        task = asyncio.create_task(self._put(lane, entry, why, when_put))
        self._moving.add(task)
        task.add_done_callback(self._moving.discard)

    async def _put(self, lane: Lane, entry: LaneEntry, why: str, when_put: Callable[[], None]) -> None:
        async def once() -> int:
            lane.require_held()
            return await self._reader.set_aside(lane.lease, entry, why)

        try:
            gone = await self._retry.call(once)
        except LeaseLost:
            lane.lost = True
            return
        self._counters.dead_letters += 1
        if gone:
            self._counters.dead_letters_lost += gone
            log.error("dead_letters_lost", lane=lane.behind, number=gone)
        when_put()
