"""This node's inbox, read entry by entry in order, and handed to the hub."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import structlog

from io_node.bus.counters import BusCounters
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.errors import BusError, MalformedBatch
from sio_cluster.protocol.messages import Command

log = structlog.get_logger()

_BLOCK_MS = 2_000
_TRIM_ENTRIES = 500
_TRIM_S = 1.0
_SENDERS = 1_000
"""Senders whose last sequence number is remembered; each life of an app-node is one."""

_TURN_S = 0.01
"""After this long other work of the event loop gets its turn between two commands."""

Execute: TypeAlias = Callable[[Iterator[Command], Callable[[], bool]], bool]
"""Carries out commands until there are no more (True) or until the function says that the turn is over (False)."""


class Inbox(Protocol):
    async def read(self, block_ms: int) -> list[bytes]: ...

    async def trim(self) -> None: ...


class Downlink:
    """`run` is a task for as long as the node lives.

    What was read is trimmed once a second or every 500 entries. An entry that cannot be decoded is logged, counted
    and passed over: nobody else reads this inbox, and waiting for it would stop every client.
    """

    def __init__(
        self,
        inbox: Inbox,
        execute: Execute,
        *,
        counters: BusCounters,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counters = counters
        self._inbox = inbox
        self._execute = execute
        self._now = now
        self._last_seq: dict[str, int] = {}  # of each sender; who spoke last is last
        self._turn_ends = 0.0
        self._untrimmed = 0
        self._trimmed_at = now()

    async def run(self) -> None:
        """Read for ever; retries with backoff while Redis is away."""
        backoff = Backoff()
        stalled = False
        while True:
            try:
                entries = await self._inbox.read(_BLOCK_MS)
                self._turn_ends = self._now() + _TURN_S
                await self._carry_out(entries)
                await self._trim_if_due()
            except BusError as error:
                self.counters.downlink_retries += 1
                if not stalled:
                    log.warning("downlink_stalled", error=str(error))
                stalled = True
                await asyncio.sleep(next(backoff))
            else:
                if stalled:
                    log.info("downlink_recovered")
                stalled = False
                backoff.reset()

    async def _carry_out(self, entries: list[bytes]) -> None:
        for entry in entries:
            try:
                batch = decode_downlink(entry)
            except MalformedBatch as error:
                self.counters.malformed_batches += 1
                log.error("malformed_batch", error=str(error), size=len(entry), entry=entry[:200].hex())
                continue
            if self._is_repeated(batch.node, batch.seq):
                continue
            self.counters.batches_read += 1
            self.counters.commands_read += len(batch.commands)
            commands = iter(batch.commands)
            while not self._execute(commands, self._turn_is_over):
                await asyncio.sleep(0)
                self._turn_ends = self._now() + _TURN_S
        self._untrimmed += len(entries)

    def _is_repeated(self, sender: str, seq: int) -> bool:
        """Redis recognises a retry, unless it lost its data after this node had read the first one."""
        last = self._last_seq.pop(sender, 0)
        self._last_seq[sender] = max(seq, last)
        if len(self._last_seq) > _SENDERS:
            del self._last_seq[next(iter(self._last_seq))]
        if seq > last:
            return False
        self.counters.batches_read_before += 1
        log.warning("batch_read_before", sender=sender, seq=seq)
        return True

    def _turn_is_over(self) -> bool:
        return self._now() > self._turn_ends

    async def _trim_if_due(self) -> None:
        if self._untrimmed >= _TRIM_ENTRIES or (self._untrimmed and self._now() - self._trimmed_at >= _TRIM_S):
            await self._inbox.trim()
            self._untrimmed = 0
            self._trimmed_at = self._now()
