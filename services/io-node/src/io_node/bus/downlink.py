"""Commands of app-nodes, as they come out of this node's inbox, handed to the hub in order."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import structlog

from io_node.bus.counters import BusCounters
from io_node.bus.progress import Progress
from io_node.bus.repeats import Repeats
from io_node.durations import Durations
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.turn import Turn
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.errors import MalformedBatch
from sio_cluster.protocol.messages import Command
from sio_cluster.streams.api.inboxes import InboxEntry

log = structlog.get_logger()

Execute: TypeAlias = Callable[[Iterator[Command], Callable[[], bool]], bool]
"""`Hub.execute`: carries out commands until there are no more (True) or until the function says stop (False)."""

OnBatch: TypeAlias = Callable[[InboxEntry, Sequence[Command]], Iterable[None]]
"""Takes note of an entry, a part with each step: other work may go on in between."""


class Downlink:
    """Carries out inbox entries. `take` is what `node.membership.inbox.InboxLoop` calls.

    `on_batch` is told of each entry and its commands before they are carried out, in as many turns as that takes.
    `on_repeated` is told of each entry that came before, and is passed over. `repeats` knows of what was read before
    this one began. `durations` says how long entries waited, by `redis_clock`, and how long they took. `progress` is
    told how far the inbox is carried out.

    An entry that cannot be decoded is logged, counted and passed over.
    """

    def __init__(
        self,
        execute: Execute,
        *,
        on_batch: OnBatch = lambda entry, commands: (),
        on_repeated: Callable[[InboxEntry], None] = lambda entry: None,
        repeats: Repeats | None = None,
        counters: BusCounters,
        durations: Durations | None = None,
        redis_clock: RedisClock | None = None,
        progress: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._execute = execute
        self._on_batch = on_batch
        self._on_repeated = on_repeated
        self._repeats = repeats if repeats is not None else Repeats()
        self._counters = counters
        self._durations = durations if durations is not None else Durations()
        self._redis_clock = redis_clock if redis_clock is not None else RedisClock(clock)
        self._clock = clock
        self._progress = progress if progress is not None else Progress()

    async def take(self, entries: list[InboxEntry]) -> None:
        """Carry out entries in order."""
        counters, durations, progress = self._counters, self._durations, self._progress
        turn = Turn(self._clock)
        for entry in entries:
            progress.begin()
            try:
                batch = decode_downlink(entry.entry)
            except MalformedBatch as error:
                counters.malformed_batches += 1
                size = len(entry.entry)
                log.error("malformed_batch", error=str(error), size=size, entry=entry.entry[:200].hex())
                progress.reach(entry.id)
                continue
            if self._repeats.is_repeated(batch.node, batch.seq):
                counters.batches_read_before += 1
                log.warning("batch_read_before", node=batch.node, seq=batch.seq)
                self._on_repeated(entry)
                progress.reach(entry.id)
                continue
            counters.batches_read += 1
            counters.commands_read += len(batch.commands)
            waited = self._redis_clock.age_of(entry.id)
            if waited is not None:
                durations.inbox_wait.observe(waited)
            began = self._clock()
            for _ in self._on_batch(entry, batch.commands):
                if turn.is_over():
                    await turn.next()
            commands = iter(batch.commands)
            while not self._execute(commands, turn.is_over):
                await turn.next()
            progress.reach(entry.id)
            durations.fan_out.observe(self._clock() - began)
