"""Commands of a tick to one append per inbox.

All that gathers while a flush is in flight leaves with the next one. Per inbox, commands arrive in the order given,
each once: an entry is retried with its sequence number until Redis has taken it. Where a lane of ours was taken over,
inboxes bar what we made before: such an entry is made anew, without the commands of lanes that are lost. Overflow:
`put` is refused room beyond `max_bytes` in total, and `room` waits. An inbox that is full holds up its own queue alone;
where its node is gone, the queue is dropped and counted. A Redis that is out of memory still takes what handlers say,
since the lane entries that they handle are removed only afterwards. All else waits.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from app_node.counters import Counters
from app_node.lanes.progress import Scope
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.messages import Command
from sio_cluster.streams.redis.appender import Append, AppendResult

log = structlog.get_logger()

MAX_ENTRY_BYTES = 1_000_000
MAX_ENTRY_COMMANDS = 2_000
REFUSED_S = 1.0  # after a refusal, before anything else but what handlers say is tried
COMMAND_BYTES = 96  # what a command weighs besides its packet


class Appends(Protocol):
    async def append(self, appends: Sequence[Append]) -> list[AppendResult]: ...

    async def bars(self, streams: Sequence[str], sender: str) -> list[int]: ...


class Batch:
    """The commands of one inbox entry, and who waits for it."""

    __slots__ = ("_landed", "_outcome", "items", "last_scope", "scopes", "size")

    def __init__(self) -> None:
        self.items: list[tuple[Command, Scope | None]] = []
        self.size = 0
        self.scopes: list[Scope] = []
        self.last_scope: Scope | None = None
        self._landed: asyncio.Event | None = None
        self._outcome: bool | None = None

    async def landed(self) -> bool:
        """Waits until the batch has an end: True when Redis has it, False when it was dropped."""
        if self._outcome is None:
            if self._landed is None:
                self._landed = asyncio.Event()
            await self._landed.wait()
        return bool(self._outcome)

    def finish(self, written: bool) -> None:
        self._outcome = written
        if self._landed is not None:
            self._landed.set()
        for scope in self.scopes:
            scope.end()


class _Queue:
    """One inbox: what gathers, and the one entry that is on its way."""

    __slots__ = ("backoff", "bar", "batches", "flying", "held_until", "node", "seq", "stream")

    def __init__(self, node: str, stream: str, seq: int, bar: int) -> None:
        self.node = node
        self.stream = stream
        self.seq = seq  # of the last entry made
        self.bar = bar  # how often this inbox has barred us, as far as we know
        self.batches: list[Batch] = []
        self.flying: tuple[Batch, Append] | None = None
        self.held_until = 0.0
        self.backoff = Backoff()


class Outbox:
    """Every command of this app-node on its way to Redis. `is_known` tells whether an io-node still counts."""

    def __init__(
        self,
        appender: Appends,
        *,
        sender: str,
        inbox_key: Callable[[str], str],
        inbox_max_bytes: int,
        max_bytes: int,
        is_known: Callable[[str], bool],
        clock: Callable[[], float],
        counters: Counters,
    ) -> None:
        self._appender = appender
        self._sender = sender
        self._inbox_key = inbox_key
        self._inbox_max_bytes = inbox_max_bytes
        self._max_bytes = max_bytes
        self._is_known = is_known
        self._clock = clock
        self._counters = counters
        self._queues: dict[str, _Queue] = {}
        self._last: dict[
            str, tuple[int, int]
        ] = {}  # seq and bar of nodes that went: one that comes back must not see a seq twice
        self._bytes = 0
        self._handlers_waiting = 0  # for room
        self._refused_until = 0.0
        self.emitted = 0  # commands put
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()

    @property
    def has_room(self) -> bool:
        return self._bytes < self._max_bytes

    @property
    def waiting(self) -> int:
        """Commands that Redis does not have yet."""
        batches = [batch for queue in self._queues.values() for batch in queue.batches]
        flying = [queue.flying[0] for queue in self._queues.values() if queue.flying is not None]
        return sum(len(batch.items) for batch in (*batches, *flying))

    async def room(self, *, in_handler: bool = False) -> None:
        """Returns when fewer than `max_bytes` wait. While a handler waits for that, a full Redis must take all."""
        self._handlers_waiting += in_handler
        try:
            while not self.has_room:
                self._room.clear()
                await self._room.wait()
        finally:
            self._handlers_waiting -= in_handler

    async def drained(self) -> None:
        """Returns when nothing waits."""
        await self._empty.wait()

    def put(self, node: str, command: Command, size: int, scope: Scope | None) -> Batch:
        """Queues a command of about `size` bytes for this io-node. Returns the batch that it leaves in."""
        queue = self._queues.get(node)
        if queue is None:
            queue = self._queues[node] = _Queue(node, self._inbox_key(node), *self._last.get(node, (0, 0)))
        batches = queue.batches
        if not batches or batches[-1].size >= MAX_ENTRY_BYTES or len(batches[-1].items) >= MAX_ENTRY_COMMANDS:
            batches.append(Batch())
            self._empty.clear()
            self._wake.set()
        batch = batches[-1]
        batch.items.append((command, scope))
        self.emitted += 1
        batch.size += size + COMMAND_BYTES
        self._bytes += size + COMMAND_BYTES
        if scope is not None and batch.last_scope is not scope:
            batch.last_scope = scope
            batch.scopes.append(scope)
            scope.begin()
        return batch

    async def run(self) -> None:
        """Flushes for ever, one flush at a time. Redis' absence is waited out with backoff (at most 2 s a try)."""
        backoff = Backoff()
        while True:
            delay = self._next_delay()
            if delay is None or delay > 0:
                await self._sleep(delay)
            self._wake.clear()
            ready = self._take()
            if not ready:
                self._after_flush()
                continue
            try:
                results = await self._appender.append([append for _, _, append in ready])
                barred = [queue for (queue, _, _), r in zip(ready, results, strict=True) if r is AppendResult.BARRED]
                if barred:
                    await self._make_anew(barred)
            except (BusUnavailable, BusRefused) as error:
                wait = next(backoff)
                if isinstance(error, BusRefused):
                    self._refused_until = self._clock() + wait + REFUSED_S
                self._counters.add("retries.outbox")
                log.warning("outbox_retry", error=str(error), inboxes=len(ready), wait_ms=round(wait * 1000))
                await asyncio.sleep(wait)
                continue
            backoff.reset()
            for (queue, batch, _), result in zip(ready, results, strict=True):
                self._settle(queue, batch, result)
            self._after_flush()

    def _next_delay(self) -> float | None:
        """Seconds until some queue may be flushed, None while all are empty."""
        waiting = [queue.held_until for queue in self._queues.values() if queue.flying or queue.batches]
        return max(0.0, min(waiting) - self._clock()) if waiting else None

    async def _sleep(self, delay: float | None) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), delay)
        except TimeoutError:
            return

    def _take(self) -> list[tuple[_Queue, Batch, Append]]:
        now = self._clock()
        ready = []
        for queue in self._queues.values():
            if queue.held_until > now:
                continue
            if queue.flying is not None:
                self._look_again(queue, *queue.flying)
            if queue.flying is None and queue.batches:
                self._encode_next(queue)
            if queue.flying is not None:
                ready.append((queue, *queue.flying))
        return self._urgent(ready) or ready if now < self._refused_until else ready

    def _urgent(self, ready: list[tuple[_Queue, Batch, Append]]) -> list[tuple[_Queue, Batch, Append]]:
        """Those that a full Redis must take: lane entries wait for them, or for what is behind them."""
        return [
            (queue, batch, replace(append, urgent=True))
            for queue, batch, append in ready
            if self._handlers_waiting or batch.scopes or any(behind.scopes for behind in queue.batches)
        ]

    def _encode_next(self, queue: _Queue) -> None:
        """Makes the next entry, without commands of lanes that were lost: their new holder gives them again."""
        while queue.batches:
            batch = queue.batches.pop(0)
            self._drop_lost(batch)
            if batch.items:
                queue.seq += 1
                entry = self._encode(batch, queue.seq)
                append = Append(queue.stream, self._sender, queue.seq, entry, self._inbox_max_bytes, queue.bar)
                queue.flying = (batch, append)
                return
            self._forget(batch, written=False)

    def _look_again(self, queue: _Queue, batch: Batch, append: Append) -> None:
        """Before a retry: after a long pause of this process the inbox may have forgotten that it barred us.

        The first try may have landed, so its sequence number is not given to other commands.
        """
        if not self._drop_lost(batch):
            return
        if batch.items:
            queue.flying = (batch, replace(append, entry=self._encode(batch, append.seq)))
        else:
            queue.flying = None
            self._forget(batch, written=False)

    def _drop_lost(self, batch: Batch) -> int:
        """Drops the commands of lanes that were lost. How many they were."""
        held = {scope: scope.lane.held() for scope in batch.scopes}
        kept = [item for item in batch.items if item[1] is None or held[item[1]]]
        dropped = len(batch.items) - len(kept)
        if dropped:
            self._counters.add("commands_dropped.lane_lost", dropped)
            batch.items = kept
        return dropped

    def _encode(self, batch: Batch, seq: int) -> bytes:
        return encode_downlink(self._sender, seq, [command for command, _ in batch.items])

    async def _make_anew(self, queues: list[_Queue]) -> None:
        """Asks for the bars first: a lane that was taken over before them is seen as lost when the entry is made."""
        bars = await self._appender.bars([queue.stream for queue in queues], self._sender)
        for queue, bar in zip(queues, bars, strict=True):
            self._counters.add("appends_barred")
            log.warning("outbox_barred", node=queue.node, bar=bar)
            if queue.flying is not None:
                queue.batches.insert(0, queue.flying[0])
                queue.flying = None
                queue.seq -= 1
            queue.bar = bar

    def _settle(self, queue: _Queue, batch: Batch, result: AppendResult) -> None:
        if result is AppendResult.BARRED:
            return  # made anew
        if result is not AppendResult.FULL:
            queue.flying = None
            queue.held_until = 0.0
            queue.backoff.reset()
            self._counters.add("commands_written", len(batch.items))
            self._forget(batch, written=True)
        elif self._is_known(queue.node):
            wait = next(queue.backoff)
            queue.held_until = self._clock() + wait
            self._counters.add("inbox_full")
            log.warning("inbox_full", node=queue.node, wait_ms=round(wait * 1000))
        else:
            self._drop(queue)

    def _drop(self, queue: _Queue) -> None:
        """The node is gone, and nobody reads its inbox."""
        batches = [*([queue.flying[0]] if queue.flying else []), *queue.batches]
        number = sum(len(batch.items) for batch in batches)
        self._counters.add("commands_dropped.node_gone", number)
        log.warning("outbox_dropped", node=queue.node, commands=number)
        queue.flying = None
        queue.batches = []
        for batch in batches:
            self._forget(batch, written=False)

    def _forget(self, batch: Batch, *, written: bool) -> None:
        self._bytes -= batch.size
        if self._bytes < self._max_bytes:
            self._room.set()
        batch.finish(written)

    def _after_flush(self) -> None:
        """Empty queues of nodes that are gone go, too."""
        for node in [n for n, q in self._queues.items() if not q.flying and not q.batches and not self._is_known(n)]:
            queue = self._queues.pop(node)
            self._last[node] = queue.seq, queue.bar
        if not any(queue.flying or queue.batches for queue in self._queues.values()):
            self._empty.set()
