"""Facts of clients on their way to Redis: one stream entry for each destination and flush.

A destination is a lane, or the inbox of an app-node that asked a client for an answer. While one flush is in flight the
next facts gather, so batches grow with the load. A batch keeps its sequence number however often it is tried, and Redis
drops what it already has. So nothing is lost or doubled, and each destination keeps its order.

Bounds: UPLINK_BUFFER_BYTES for all that waits, and within it a share for each destination that Redis calls full, so
that it does not stop the others. When a bound is exceeded the node stops reading from whoever sends more, so that TCP
pushes back. It reads again when half of the bound is left. Facts that nobody sent (a client is gone) are taken even
then: there are at most as many of them as clients, and for each question to many its `AckExpected`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from io_node.backpressure import Backpressure, Paused, Sender, size_of
from io_node.bus.batch import Batch
from io_node.bus.counters import BusCounters
from io_node.bus.destination import Destination
from io_node.bus.fairness import Fairness
from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.retry import Retry
from sio_cluster.node.turn import Turn
from sio_cluster.protocol.errors import BusError, RedisFull
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import AckExpected, AckMissed, AckReceived, UplinkItem
from sio_cluster.streams.api.appends import Append, Appender, AppendResult
from sio_cluster.streams.api.records import ClientRecords

log = structlog.get_logger()

_RECORDS = 500
"""How many records of new clients are stored in one call."""


@dataclass(frozen=True, slots=True)
class UplinkLimits:
    buffer_bytes: int
    lane_max_bytes: int
    inbox_max_bytes: int


class Uplink:
    """Takes facts and brings them to Redis. `run` is a loop for as long as the node lives."""

    def __init__(
        self,
        node_id: str,
        keys: Keys,
        limits: UplinkLimits,
        *,
        appender: Appender,
        records: ClientRecords,
        counters: BusCounters,
        backpressure: Backpressure,
        fairness: Fairness,
        retry: Retry,
        is_gone: Callable[[str], bool],
        is_alive: Callable[[str], Awaitable[bool]],
        waits: Histogram,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_gone` tells whether an app-node is known not to be registered any more. `is_alive` asks Redis whether it
        is alive all the same, as one that only emits may be. `waits` counts how long entries wait for Redis.
        """
        self._counters = counters
        self._node_id = node_id
        self._keys = keys
        self._limits = limits
        self._appender = appender
        self._records = records
        self._backpressure = backpressure
        self._fairness = fairness
        self._retry = retry
        self._is_gone = is_gone
        self._is_alive = is_alive
        self._waits = waits
        self._clock = clock
        self._seq = 0  # one for all streams: it needs only to rise within each
        self._destinations: dict[int | str, Destination] = {}
        self._active: dict[Destination, None] = {}  # those with something waiting
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._buffer_full: Paused = {}
        self._renounced: dict[str, int] = {}
        """The generations of sessions that nobody may claim any more, of which Redis does not know yet."""

    @property
    def waiting_bytes(self) -> int:
        """What the facts weigh that Redis does not have yet, as far as this node knows."""
        return self._waiting_bytes

    @property
    def waiting_facts(self) -> int:
        """How many facts Redis does not have yet."""
        return sum(destination.waiting_facts for destination in self._active)

    @property
    def has_room(self) -> bool:
        """Whether what waits is within UPLINK_BUFFER_BYTES."""
        return self._waiting_bytes <= self._limits.buffer_bytes

    def put(self, destination: int | str, fact: UplinkItem, sender: Sender | None) -> None:
        """Queue a fact for a lane (int) or for the inbox of an app-node (its id). `sender` None: nobody sent it.

        An inbox takes answers, that none will come, and who was asked. Anything else is logged, counted and dropped.
        """
        if isinstance(destination, str) and not isinstance(fact, AckReceived | AckMissed | AckExpected):
            self._counters.facts_dropped["misplaced"] += 1
            log.error("fact_misplaced", app_node=destination, fact=type(fact).__name__, sid=fact.sid)
            return
        queue = self._destinations.get(destination) or self._new_destination(destination)
        size = size_of(fact)
        if not queue.facts:
            queue.since = self._clock()
        queue.facts.append(fact)
        queue.waiting_bytes += size
        self._waiting_bytes += size
        self._active[queue] = None
        if not self._wake.is_set():
            self._wake.set()
            self._flushed.clear()
        if sender is None:
            return
        if self._waiting_bytes > self._limits.buffer_bytes:
            if not self._buffer_full:
                log.warning("uplink_buffer_full", waiting_bytes=self._waiting_bytes)
            self._backpressure.pause(self._buffer_full, sender)
        elif queue.full and queue.waiting_bytes > self._share_bytes:
            self._backpressure.pause(queue.paused, sender)
        elif queue.app_node is None:
            self._fairness.put(queue, size, sender)

    def renounce(self, sid: str, generation: int) -> None:
        """Nobody may claim this session any more. Redis is told before the facts that are put from now on."""
        self._renounced[sid] = generation

    def is_renounced(self, sid: str) -> bool:
        """Whether nobody may claim this session any more, and Redis does not know it yet."""
        return sid in self._renounced

    def forget(self, sender: Sender) -> None:
        """The connection has closed. It is not read again."""
        self._fairness.forget(sender)
        self._backpressure.forget(sender)

    async def run(self) -> None:
        """Flush for ever. Cancel it, after `emptied` if nothing may be lost."""
        while True:
            await self._wait_for_work()
            try:
                await self._drop_for_the_dead()
                await self._flush(await self._next_batches())
            except BusError as error:
                self._counters.redis_full += isinstance(error, RedisFull)
                await asyncio.sleep(self._retry.failed(error))
            else:
                self._retry.succeeded()

    async def emptied(self, timeout_s: float) -> bool:
        """Wait until all is in Redis. False when `timeout_s` was not enough."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._flushed.wait()
        except TimeoutError:
            return False
        return True

    # --- queues

    @property
    def _share_bytes(self) -> int:
        """What one full destination may hold of the buffer. All full ones together leave half of it to the others."""
        return self._limits.buffer_bytes // (2 * max(1, len(self._destinations)))

    def _new_destination(self, destination: int | str) -> Destination:
        if isinstance(destination, int):
            queue = Destination(self._keys.uplink(destination), None, self._limits.lane_max_bytes)
        else:
            self._forget_gone_app_nodes()
            queue = Destination(self._keys.inbox(destination), destination, self._limits.inbox_max_bytes)
        self._destinations[destination] = queue
        return queue

    def _forget_gone_app_nodes(self) -> None:
        for queue in list(self._destinations.values()):
            if queue.app_node is not None and queue not in self._active and self._is_gone(queue.app_node):
                del self._destinations[queue.app_node]

    async def _wait_for_work(self) -> None:
        """Until a fact has come, or a destination that was full may be tried again."""
        if self._wake.is_set() or any(not queue.full for queue in self._active):
            return
        if not self._active:
            await self._wake.wait()
            return
        retry_at = min(queue.retry_at for queue in self._active)
        try:
            async with asyncio.timeout(max(0.0, retry_at - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            pass  # the turn of a full destination has come

    async def _drop_for_the_dead(self) -> None:
        """Drops the answers that wait for a full inbox whose app-node is not there any more."""
        for queue in list(self._active):
            app_node = queue.app_node
            if app_node is None or not queue.full or queue.retry_at > self._clock() or not self._is_gone(app_node):
                continue
            if not await self._is_alive(app_node):
                self._drop(queue, app_node)

    async def _next_batches(self) -> list[tuple[Destination, Batch]]:
        """One batch for each destination whose turn it is.

        A large batch takes about 1 ms to encode, so other work of the event loop may get its turn in between.
        """
        self._wake.clear()
        now = self._clock()
        turn = Turn(self._clock)
        batches = []
        for queue in list(self._active):
            if turn.is_over():
                await turn.next()
            if not queue.full or queue.retry_at <= now:
                self._seq += queue.batch is None
                batches.append((queue, queue.next_batch(self._node_id, self._seq)))
        return batches

    # --- flushing

    async def _flush(self, batches: list[tuple[Destination, Batch]]) -> None:
        """One try for each batch. After a BusError each is to be tried again as it is."""
        connected = [fact for _, batch in batches for fact in batch.connected]
        if connected:
            for start in range(0, len(connected), _RECORDS):
                await self._records.store(connected[start : start + _RECORDS])
            for _, batch in batches:
                batch.connected = []
        if self._renounced:
            await self._renounce()
        if not batches:
            return
        results = await self._appender.append(
            [Append(queue.stream, self._node_id, batch.seq, batch.entry, queue.max_bytes) for queue, batch in batches]
        )
        for (queue, batch), result in zip(batches, results, strict=True):
            if result is AppendResult.FULL:
                self._put_off(queue)
            else:
                self._settle(queue, batch, repeated=result is AppendResult.DUPLICATE)
        self._read_again()

    async def _renounce(self) -> None:
        sessions = list(self._renounced.items())[:_RECORDS]
        while sessions:
            await self._records.renounce(sessions)
            for sid, generation in sessions:
                if self._renounced[sid] == generation:
                    del self._renounced[sid]
            sessions = list(self._renounced.items())[:_RECORDS]

    def _settle(self, queue: Destination, batch: Batch, *, repeated: bool) -> None:
        """The batch is in Redis."""
        self._waits.observe(self._clock() - batch.since)
        self._counters.batches_appended += 1
        self._counters.batches_repeated += repeated
        self._counters.facts_appended += batch.facts
        self._counters.acks_appended += batch.facts if queue.app_node is not None else 0
        self._waiting_bytes -= batch.size
        if queue.settle(batch):
            log.info("stream_takes_entries_again", stream=queue.stream)
        if queue.paused and queue.waiting_bytes <= self._share_bytes // 2:
            self._backpressure.release_all(queue.paused)
        if not queue.facts:
            self._retire(queue)

    def _put_off(self, queue: Destination) -> None:
        """The stream is full. `put` meanwhile stops reading from those who send much to it."""
        self._counters.streams_full += 1
        if not queue.full:
            log.warning("stream_full", stream=queue.stream, waiting_bytes=queue.waiting_bytes)
        queue.put_off(self._clock())

    def _drop(self, queue: Destination, app_node: str) -> None:
        """The inbox is full, and the app-node that wanted these answers is gone."""
        self._waiting_bytes -= queue.waiting_bytes
        dropped = queue.drop()
        self._counters.facts_dropped["app_node_gone"] += dropped
        log.warning("answers_dropped", app_node=app_node, dropped=dropped)
        del self._destinations[app_node]
        self._backpressure.release_all(queue.paused)
        self._retire(queue)

    def _retire(self, queue: Destination) -> None:
        """Nothing waits for this destination."""
        del self._active[queue]
        if not self._active:
            self._flushed.set()

    def _read_again(self) -> None:
        if self._buffer_full and self._waiting_bytes <= self._limits.buffer_bytes // 2:
            log.info("uplink_buffer_has_room", waiting_bytes=self._waiting_bytes)
            self._backpressure.release_all(self._buffer_full)
