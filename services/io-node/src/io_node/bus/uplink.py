"""Facts of clients on their way to Redis: gathered per destination, one entry per destination and flush.

A destination is a lane, or the inbox of an app-node that asked a client for an answer. While one flush is in flight
the facts of the next gather, so batches grow with the load. A batch keeps its sequence number however often it is
tried, and Redis drops what it already has; so nothing is lost or doubled, and each destination keeps its order.

Bounds: what waits is at most UPLINK_BUFFER_BYTES, and a destination that Redis calls full has its own share of that,
so that it does not stop the others. Beyond a bound the node stops reading from whoever sends more, so that TCP pushes
back; it reads again at half of the bound. Facts that do not come from reading (a client is gone) are still taken:
their number is bounded by that of the clients.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from io_node.bus.batch import Batch, next_batch, size_of
from io_node.bus.counters import BusCounters
from io_node.bus.fairness import Fairness, Paused, Sender
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusError, RedisFull
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected, Fact
from sio_cluster.streams.redis.appender import Append, AppendResult

log = structlog.get_logger()


class Appends(Protocol):
    async def append(self, appends: Sequence[Append]) -> list[AppendResult]: ...

    async def held_bytes(self, streams: Sequence[str]) -> list[int]: ...


class Records(Protocol):
    async def store(self, connected: Sequence[ClientConnected]) -> None: ...


@dataclass(frozen=True, slots=True)
class UplinkLimits:
    buffer_bytes: int
    lane_max_bytes: int
    inbox_max_bytes: int
    lane_fair_bytes: int = 64_000


class _Destination:
    """One stream's queue, and the batch that Redis may or may not have yet."""

    __slots__ = (
        "app_node",
        "backoff",
        "batch",
        "facts",
        "full",
        "max_bytes",
        "paused",
        "retry_at",
        "stream",
        "waiting_bytes",
    )

    def __init__(self, stream: str, app_node: str | None, max_bytes: int) -> None:
        self.stream = stream
        self.app_node = app_node
        self.max_bytes = max_bytes
        self.facts: deque[Fact] = deque()
        self.waiting_bytes = 0
        self.batch: Batch | None = None
        self.full = False
        self.retry_at = 0.0
        self.backoff = Backoff()
        self.paused: Paused = {}


class Uplink:
    """Takes facts and brings them to Redis. `run` and `run_fairness` are tasks for as long as the node lives."""

    def __init__(
        self,
        node_id: str,
        keys: Keys,
        limits: UplinkLimits,
        *,
        appender: Appends,
        records: Records,
        counters: BusCounters,
        is_gone: Callable[[str], bool] = lambda app_node: False,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_gone` tells whether an app-node is known to be no longer there."""
        self.counters = counters
        self._node_id = node_id
        self._keys = keys
        self._limits = limits
        self._appender = appender
        self._records = records
        self._is_gone = is_gone
        self._now = now
        self._seq = 0  # one for all streams: it needs only to rise within each
        self._destinations: dict[int | str, _Destination] = {}
        self._active: dict[_Destination, None] = {}  # those with something waiting
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._paused: Paused = {}  # because the whole buffer is full
        self._holds: dict[Sender, list[Paused]] = {}  # every reason for which a sender is not read
        self._stalled = False
        self._fairness = Fairness(appender, limits.lane_fair_bytes, pause=self.pause, release=self.release)
        self.run_fairness = self._fairness.run

    @property
    def waiting_bytes(self) -> int:
        """What Redis does not have yet, as far as this node knows."""
        return self._waiting_bytes

    @property
    def waiting_facts(self) -> int:
        """How many facts that are."""
        return sum(len(queue.facts) + (queue.batch.facts if queue.batch else 0) for queue in self._active)

    @property
    def paused(self) -> int:
        """Connections that are not read for now."""
        return len(self._holds)

    @property
    def has_room(self) -> bool:
        """Whether another fact would stay within UPLINK_BUFFER_BYTES."""
        return self._waiting_bytes <= self._limits.buffer_bytes

    def put(self, destination: int | str, fact: Fact, sender: Sender | None) -> None:
        """Queue a fact for a lane (int) or the inbox of an app-node (its id). `sender` None: nobody sent it."""
        queue = self._destinations.get(destination) or self._new_destination(destination)
        size = size_of(fact)
        queue.facts.append(fact)
        queue.waiting_bytes += size
        self._waiting_bytes += size
        self.counters.facts_put += 1
        self._active[queue] = None
        if not self._wake.is_set():
            self._wake.set()
            self._flushed.clear()
        if sender is None:
            return
        if self._waiting_bytes > self._limits.buffer_bytes:
            self.pause(self._paused, sender)
        elif queue.full and queue.waiting_bytes > self._share_bytes:
            self.pause(queue.paused, sender)
        elif queue.app_node is None:
            self._fairness.put(queue, size, sender)

    def forget(self, sender: Sender) -> None:
        """The connection is closed: it will not be read again."""
        self._fairness.forget(sender)
        for paused in self._holds.pop(sender, ()):
            del paused[sender]

    async def run(self) -> None:
        """Flush for ever; retries with backoff while Redis is away. Cancel it, after `drain` if nothing may be lost."""
        backoff = Backoff()
        while True:
            await self._wait_for_work()
            batches = self._next_batches()
            try:
                await self._flush(batches)
            except BusError as error:
                self.counters.uplink_retries += 1
                self.counters.redis_full += isinstance(error, RedisFull)
                if not self._stalled:
                    log.warning("uplink_stalled", error=str(error), waiting_bytes=self._waiting_bytes)
                self._stalled = True
                await asyncio.sleep(next(backoff))
            else:
                if self._stalled:
                    log.info("uplink_recovered", waiting_bytes=self._waiting_bytes)
                self._stalled = False
                backoff.reset()

    async def drain(self, timeout_s: float) -> bool:
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
        """What one full destination may hold of the buffer: all full ones together leave half of it to the others."""
        return self._limits.buffer_bytes // (2 * max(1, len(self._destinations)))

    def _new_destination(self, destination: int | str) -> _Destination:
        if isinstance(destination, int):
            queue = _Destination(self._keys.uplink(destination), None, self._limits.lane_max_bytes)
        else:
            self._forget_gone_app_nodes()
            queue = _Destination(self._keys.inbox(destination), destination, self._limits.inbox_max_bytes)
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
        retry_at = min((queue.retry_at for queue in self._active), default=None)
        try:
            async with asyncio.timeout(None if retry_at is None else max(0.0, retry_at - self._now())):
                await self._wake.wait()
        except TimeoutError:
            pass  # the turn of a full destination has come

    def _next_batches(self) -> list[tuple[_Destination, Batch]]:
        """The batch of each destination: the one that is to be tried again, or a new one."""
        self._wake.clear()
        now = self._now()
        batches = []
        for queue in list(self._active):
            if queue.full and queue.app_node is not None and self._is_gone(queue.app_node):
                self._drop(queue, queue.app_node)
            elif not queue.full or queue.retry_at <= now:
                if queue.batch is None:
                    self._seq += 1
                    inbox = queue.app_node is not None
                    queue.batch = next_batch(queue.facts, self._node_id, self._seq, for_inbox=inbox)
                batches.append((queue, queue.batch))
        return batches

    # --- flushing

    async def _flush(self, batches: list[tuple[_Destination, Batch]]) -> None:
        """One try for each batch. Raises BusError, after which each is to be tried again as it is."""
        connected = [fact for _, batch in batches for fact in batch.connected]
        if connected:
            await self._records.store(connected)
            for _, batch in batches:
                batch.connected = []
        if not batches:
            return
        results = await self._appender.append(
            [Append(queue.stream, self._node_id, batch.seq, batch.entry, queue.max_bytes) for queue, batch in batches]
        )
        for (queue, batch), result in zip(batches, results, strict=True):
            if result is AppendResult.FULL:
                self._hold(queue)
            else:
                self._settle(queue, batch, repeated=result is AppendResult.DUPLICATE)
        self._resume()

    def _settle(self, queue: _Destination, batch: Batch, *, repeated: bool) -> None:
        self.counters.batches_appended += 1
        self.counters.batches_repeated += repeated
        self.counters.facts_appended += batch.facts
        self.counters.acks_appended += batch.facts if queue.app_node is not None else 0
        self._waiting_bytes -= batch.size
        queue.waiting_bytes -= batch.size
        queue.batch = None
        if queue.full:
            queue.full = False
            queue.backoff.reset()
            log.info("stream_takes_entries_again", stream=queue.stream)
        if queue.paused and queue.waiting_bytes <= self._share_bytes // 2:
            self.release(queue.paused, list(queue.paused))
        if not queue.facts:
            self._retire(queue)

    def _hold(self, queue: _Destination) -> None:
        """The stream is full: try again later; `put` meanwhile stops reading from those who send much to it."""
        self.counters.streams_full += 1
        if not queue.full:
            log.warning("stream_full", stream=queue.stream, waiting_bytes=queue.waiting_bytes)
        queue.full = True
        queue.retry_at = self._now() + next(queue.backoff)

    def _drop(self, queue: _Destination, app_node: str) -> None:
        """Its inbox is full and the app-node that wanted these answers is gone."""
        dropped = len(queue.facts) + (queue.batch.facts if queue.batch is not None else 0)
        self.counters.facts_dropped += dropped
        log.warning("answers_dropped", app_node=app_node, dropped=dropped)
        self._waiting_bytes -= queue.waiting_bytes
        queue.facts.clear()
        queue.batch = None
        del self._destinations[app_node]
        self.release(queue.paused, list(queue.paused))
        self._retire(queue)

    def _retire(self, queue: _Destination) -> None:
        """Nothing waits for this destination."""
        del self._active[queue]
        if not self._active:
            self._flushed.set()

    # --- backpressure

    def pause(self, paused: Paused, sender: Sender) -> None:
        """Read no further from this sender, for the reason that `paused` stands for, until `release` or `forget`."""
        if sender in paused:
            return
        if paused is self._paused and not paused:
            log.warning("uplink_buffer_full", waiting_bytes=self._waiting_bytes)
        paused[sender] = None
        holds = self._holds.setdefault(sender, [])
        holds.append(paused)
        if len(holds) == 1:
            self.counters.pauses += 1
            sender.pause_reading()

    def release(self, paused: Paused, senders: Iterable[Sender]) -> None:
        """Read again from these senders, those excepted that are paused for another reason too."""
        for sender in senders:
            del paused[sender]
            holds = self._holds[sender]
            holds.remove(paused)
            if not holds:
                del self._holds[sender]
                sender.resume_reading()

    def _resume(self) -> None:
        if self._paused and self._waiting_bytes <= self._limits.buffer_bytes // 2:
            log.info("uplink_buffer_has_room", waiting_bytes=self._waiting_bytes)
            self.release(self._paused, list(self._paused))
