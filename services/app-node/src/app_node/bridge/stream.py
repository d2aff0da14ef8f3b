"""Reads the stream of @socket.io/redis-streams-emitter without loss, and goes on where a bridge has been.

In this order: read a page, emit its entries, wait until the cluster's Redis has them, store the position. A bridge that
dies in between leaves a page, of which the next one emits the entries again: at least once.
"""

import asyncio
from dataclasses import replace
from functools import partial

import structlog

from app_node.bridge.counters import BridgeCounters
from app_node.bridge.formats import redis_streams_emitter
from app_node.bridge.intake import Intake
from app_node.bridge.lease import ActiveLease
from app_node.downlink.landing import landing_as_one
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.redis.bridged import BridgedRedis, Position, StreamPage

log = structlog.get_logger()

PAGE = 64
"""Entries that are read at a time. So many at most are emitted twice after a crash."""
BLOCK_MS = 500
START = Position("0-0", 0)


class Stream:
    """The stream as the active bridge reads it."""

    def __init__(
        self, redis: BridgedRedis, name: str, lease: ActiveLease, intake: Intake, counters: BridgeCounters
    ) -> None:
        self._redis = redis
        self._name = name
        self._lease = lease
        self._intake = intake
        self._counters = counters
        self._retry = Retry("bridge stream", counters.redis_retries)
        self._position: Position | None = None  # what this process has emitted, stored or not

    async def run(self) -> None:
        """A loop for as long as the bridge lives. After a failure it goes on where it was, with backoff."""
        while True:
            await self._lease.wait()
            try:
                await self._read_on()
            except BusError as error:
                await asyncio.sleep(self._retry.failed(error))

    async def _read_on(self) -> None:
        position = await self._begin()
        while self._lease.held:
            page = await self._redis.page(self._name, position.id, PAGE)
            self._retry.succeeded()
            if (moved := self._account(page, position)) != position:
                position = self._position = moved
                if moved == START:
                    continue  # what the page holds was read behind another position
            self._counters.behind = max(0, page.added - position.read)
            if not page.entries:
                await self._redis.wait(self._name, position.id, BLOCK_MS)
                continue
            position = await self._emit(page, position)
            if not await self._redis.save_position(self._name, position):
                return  # another bridge is the active one; the lease will say so

    async def _begin(self) -> Position:
        """Where to go on: behind what any bridge has stored, and what this one has emitted.

        The first bridge ever begins at the end: what is in the stream then was for other servers.
        """
        found = await self._redis.position(self._name)
        if found is None and self._position is None:
            page = await self._redis.page(self._name, START.id, 0)
            found = Position(page.last_id, page.added)
            await self._redis.save_position(self._name, found)
        known = [position for position in (found, self._position) if position is not None]
        self._position = max(known, key=lambda position: _order(position.id))
        log.info("bridge_reads", stream=self._name, after=self._position.id)
        return self._position

    def _account(self, page: StreamPage, position: Position) -> Position:
        """The position, corrected for what has become of the stream. Counts entries that went before they were read."""
        if _order(page.last_id) < _order(position.id) or (page.added == 0 and position.read):
            log.warning("bridge_stream_reset", stream=self._name, why="the stream is a new one")
            return START
        if page.added < position.read:  # a new stream, whose entries are all behind the position
            return replace(position, read=page.trimmed)
        lost = page.trimmed - position.read
        if lost <= 0:
            return position
        self._counters.entries_lost += lost
        log.error("bridge_entries_lost", stream=self._name, number=lost, why="trimmed before a bridge had read them")
        return replace(position, read=page.trimmed)

    async def _emit(self, page: StreamPage, position: Position) -> Position:
        """Emits the page as far as the lease lasts. Returns when the cluster's Redis has it: up to where that is."""
        with landing_as_one() as landing:
            for entry_id, fields in page.entries:
                if not self._lease.held:
                    break
                await self._intake.take("redis-streams-emitter", partial(redis_streams_emitter.requests_of, fields))
                position = Position(entry_id, position.read + 1)
        await landing.landed()
        self._position = position
        self._counters.behind = max(0, page.added - position.read)
        return position


def _order(entry_id: str) -> tuple[int, int]:
    ms, _, number = entry_id.partition("-")
    return int(ms), int(number)
