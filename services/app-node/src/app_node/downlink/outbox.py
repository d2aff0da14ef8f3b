"""Every command of this app-node on its way to Redis: what gathers in a tick leaves as one entry for each inbox.

A tick is the time in which the flush before it is under way. Each inbox has an `InboxQueue`, which keeps the order.
Lane entries that are done leave their lanes with the same flush (`lanes.commits`).

What is full, and what happens then:

- The outbox (`max_bytes`): `has_room` is False. Whoever emits waits in `room`, and goes on in the order of coming.
- One inbox: its own queue waits, the others go on. Where its io-node is gone, the queue is dropped and counted.
- Redis (out of memory): it still takes what handlers say, since their lane entries can be removed only afterwards, and
  what is done is removed. All else waits.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.downlink.batch import STOPPED, Batch
from app_node.downlink.inbox_queue import InboxQueue, Surroundings
from app_node.lanes.commits import Commits, LaneCommit
from app_node.lanes.progress import EntryProgress
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError, BusRefused
from sio_cluster.protocol.messages import Command, ServerAnswer, ServerEvent, ServerItem
from sio_cluster.streams.api.appends import Append, AppendResult, Flushed, Flusher

MAX_ENTRY_BYTES = 1_000_000
MAX_ENTRY_COMMANDS = 2_000
REFUSED_S = 1.0
"""How long after a refusal by Redis nothing is tried but what handlers say."""
COMMAND_BYTES = 96
"""What a command weighs besides its packet."""

Ready: TypeAlias = tuple[InboxQueue, Batch, Append]


@dataclass(eq=False, slots=True)
class _Turn:
    """Somebody who waits for room for so many bytes. `come` is done when there is."""

    size: int
    come: asyncio.Future[None]


class Outbox:
    """Takes commands with `put`; `run` brings them to Redis. `is_known` tells whether a node still counts.

    What it takes for the inboxes of other app-nodes goes the same way.
    """

    def __init__(
        self,
        appender: Flusher,
        *,
        node_id: str,
        inbox_key: Callable[[str], str],
        inbox_max_bytes: int,
        max_bytes: int,
        commits: Commits,
        is_known: Callable[[str], bool],
        clock: Clock,
        counters: Counters,
    ) -> None:
        self._appender = appender
        self._node_id = node_id
        self._inbox_key = inbox_key
        self._max_bytes = max_bytes
        self._commits = commits
        self._is_known = is_known
        self._clock = clock
        self._retry = Retry("outbox", counters.redis_retries)
        self._waits = counters.durations.outbox_wait
        self._around = Surroundings(node_id, inbox_max_bytes, counters, self._forget)
        self._queues: dict[str, InboxQueue] = {}
        self._last: dict[str, tuple[int, int]] = {}
        """Last sequence number and bar by io-node that went: one that comes back must not see a number twice."""
        self._last_of_app_nodes = 0  # sequence number: it rises over all of them, so that none must be remembered
        self._bytes = 0
        self._handlers_waiting = 0  # in `room`
        self._line: deque[_Turn] = deque()  # who waits in `room`
        self._admitted: deque[_Turn] = deque()  # who may go on, and has not yet
        self._promised = 0  # bytes for them
        self._refused_until = 0.0  # only what handlers say
        self._appends_from = 0.0  # only commits before
        self.emitted = 0  # commands put
        self._wake = asyncio.Event()
        commits.on_put = self._wake.set
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = False

    @property
    def has_room(self) -> bool:
        """Whether less than `max_bytes` waits here, and nobody in `room`."""
        return self._bytes < self._max_bytes and not self._line and not self._admitted

    @property
    def waiting(self) -> int:
        """Commands that Redis does not have yet."""
        return sum(queue.waiting for queue in self._queues.values())

    async def room(self, size: int, *, in_handler: bool = False) -> None:
        """Returns when there is room, in the order of the calls. The caller puts about `size` bytes before it waits for
        anything else.

        While a handler waits here, Redis is asked to take everything, also when it is out of memory.

        Raises RuntimeError where the node ends first.
        """
        if self._closed:
            raise RuntimeError(STOPPED)
        loop = asyncio.get_running_loop()
        turn = _Turn(size, loop.create_future())
        self._line.append(turn)
        loop.call_soon(self._admit)  # not now: those who were admitted before have not gone on yet
        self._handlers_waiting += in_handler
        try:
            await turn.come
        finally:
            self._handlers_waiting -= in_handler
            if turn in self._admitted:
                self._admitted.remove(turn)
                self._promised -= size
            else:
                self._line.remove(turn)
            if self._line:  # the caller may put less than it said
                loop.call_soon(self._admit)

    async def emptied(self) -> None:
        """Returns when nothing waits."""
        await self._empty.wait()

    def close(self) -> None:
        """The node has ended, and `run` with it: tells all who wait, and all who come later. Idempotent."""
        self._closed = True
        for queue in self._queues.values():
            queue.abandon()
        for turn in self._line:
            if not turn.come.done():  # else it has been cancelled
                turn.come.set_exception(RuntimeError(STOPPED))

    def put(self, node: str, command: Command | ServerItem, size: int, progress: EntryProgress | None) -> Batch:
        """Queues a command of about `size` bytes for this node. Never waits. Returns the batch that it leaves in.

        `progress`: the lane entry that caused the command, and is not done before it has landed.
        """
        queue = self._queues.get(node)
        if queue is None:
            queue = self._queues[node] = self._new_queue(node, command)
        batches = queue.batches
        if not batches or batches[-1].size >= MAX_ENTRY_BYTES or len(batches[-1].items) >= MAX_ENTRY_COMMANDS:
            batches.append(Batch(self._clock()))
            self._empty.clear()
            self._wake.set()
        batch = batches[-1]
        if self._closed:
            batch.abandon()
        batch.items.append((command, progress))
        self.emitted += 1
        batch.size += size + COMMAND_BYTES
        self._bytes += size + COMMAND_BYTES
        if progress is not None and batch.last_progress is not progress:
            batch.last_progress = progress
            batch.waiting.append(progress)
            progress.begin()
        return batch

    def take_back(self, node: str, commands: Collection[Command | ServerItem]) -> None:
        """Gives up what was put for this node, as far as it has not left yet."""
        if (queue := self._queues.get(node)) is not None:
            queue.take_back(commands)

    def _new_queue(self, node: str, first: Command | ServerItem) -> InboxQueue:
        for_app_node = isinstance(first, ServerEvent | ServerAnswer)
        seq, bar = (self._last_of_app_nodes, 0) if for_app_node else self._last.get(node, (0, 0))
        return InboxQueue(node, self._inbox_key(node), seq, bar, self._around, for_app_node=for_app_node)

    async def run(self) -> None:
        """A loop for as long as the node lives: one flush after the other. Retried while Redis is away."""
        while True:
            delay = self._next_delay()
            if delay is None or delay > 0:
                await self._sleep(delay)
            self._wake.clear()
            ready = self._take()
            commits = self._commits.take(batch.waiting for _, batch, _ in ready)
            if ready or commits:
                await self._try(ready, commits)
            self._after_flush()

    async def _try(self, ready: list[Ready], commits: list[LaneCommit]) -> None:
        """One flush, and what follows from it. Waits after a failure."""
        try:
            flushed = await self._flush(ready, commits)
        except BusError as error:
            self._commits.put_off(commits)
            wait = self._retry.failed(error)
            if ready and isinstance(error, BusRefused):
                self._appends_from = self._clock() + wait
                self._refused_until = self._appends_from + REFUSED_S
            else:
                await asyncio.sleep(wait)
            return
        if self._clock() >= self._appends_from:
            self._retry.succeeded()
        if flushed.committed:
            self._commits.carried_out(commits)
        elif flushed.lost:
            self._commits.lost(commits, flushed.lost)
        else:
            self._commits.put_off(commits)
        if flushed.appends:  # else nothing has happened, since a lease is lost
            for (queue, batch, _), result in zip(ready, flushed.appends, strict=True):
                self._settle(queue, batch, result)

    def _next_delay(self) -> float | None:
        """Seconds until something may be flushed. None while there is nothing."""
        if self._commits:
            return 0.0
        waiting = [queue.held_until for queue in self._queues.values() if not queue.is_empty]
        return max(0.0, max(min(waiting), self._appends_from) - self._clock()) if waiting else None

    async def _sleep(self, delay: float | None) -> None:
        if delay is None:
            await self._wake.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._wake.wait()

    def _take(self) -> list[Ready]:
        """One entry of each queue that is not held."""
        now = self._clock()
        if now < self._appends_from:
            return []
        ready: list[Ready] = []
        for queue in self._queues.values():
            if queue.held_until <= now and (entry := queue.prepare()) is not None:
                ready.append((queue, *entry))
        return self._urgent(ready) or ready if now < self._refused_until else ready

    def _urgent(self, ready: list[Ready]) -> list[Ready]:
        """Those that a Redis out of memory must take: a lane entry waits for them, or for a batch behind them."""
        return [
            (queue, batch, replace(append, urgent=True))
            for queue, batch, append in ready
            if self._handlers_waiting or batch.waiting or any(behind.waiting for behind in queue.batches)
        ]

    async def _flush(self, ready: list[Ready], commits: list[LaneCommit]) -> Flushed:
        """One round trip. Where some inboxes have barred us, a second one asks for their bars: a lane that was taken
        over before that is seen as lost when its entry is made anew."""
        flushed = await self._appender.flush([append for _, _, append in ready], [c.request() for c in commits])
        barred = [queue for (queue, _, _), r in zip(ready, flushed.appends, strict=False) if r is AppendResult.BARRED]
        if barred:
            bars = await self._appender.bars([queue.stream for queue in barred], self._node_id)
            for queue, bar in zip(barred, bars, strict=True):
                queue.barred(bar)
        return flushed

    def _settle(self, queue: InboxQueue, batch: Batch, result: AppendResult) -> None:
        match result:
            case AppendResult.APPENDED | AppendResult.DUPLICATE:
                self._waits.observe(self._clock() - batch.since)
                queue.written(batch)
            case AppendResult.NOBODY:
                queue.concerned_nobody(batch)
            case AppendResult.BARRED:
                pass  # it is made anew
            case AppendResult.FULL if self._is_known(queue.node):
                queue.hold(self._clock())
            case AppendResult.FULL:
                queue.drop()

    def _admit(self) -> None:
        """Lets those go on who have waited longest, as far as there is room for them."""
        while self._line and self._bytes + self._promised < self._max_bytes:
            turn = self._line.popleft()
            self._admitted.append(turn)
            self._promised += turn.size
            if not turn.come.done():  # else it has been cancelled
                turn.come.set_result(None)

    def _forget(self, batch: Batch, written: bool) -> None:
        """A batch has come to its end."""
        self._bytes -= batch.size
        self._admit()
        batch.finish(written)

    def _after_flush(self) -> None:
        """Forgets the empty queues of nodes that are gone, and says so when nothing waits."""
        for node in [n for n, queue in self._queues.items() if queue.is_empty and not self._is_known(n)]:
            queue = self._queues.pop(node)
            if queue.for_app_node:
                self._last_of_app_nodes = max(self._last_of_app_nodes, queue.seq)
            else:
                self._last[node] = queue.seq, queue.bar
        if all(queue.is_empty for queue in self._queues.values()):
            self._empty.set()
