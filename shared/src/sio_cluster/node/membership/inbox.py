"""The loop that reads a node's own inbox."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.api.inboxes import InboxEntry, InboxReader

BLOCK_MS = 2_000
"""How long one read waits."""

TRIM_ENTRIES = 500
TRIM_S = 1.0
"""What was read is removed from the inbox after so many entries, and at the latest after this time."""
FEW_BYTES = 2_000
FEW_S = 10.0
"""As little as this stays for longer, such as the canaries of a node to which nobody says anything."""

FORGET_S = 600.0
"""Who has appended nothing for this time is forgotten: a program that only emits may have ended without a word.

Nobody tries an append again after so long. A process that was paused for longer would have its last one twice.
"""


class InboxLoop:
    """Reads for ever, hands the entries on, and removes from the inbox what was read.

    `take(entries)` carries them out, in order, before more is read. It must not raise BusError. An entry that cannot be
    decoded is its business: it logs and counts it, and goes on. Nobody else reads this inbox, so waiting for a better
    entry would stop everything.
    """

    def __init__(
        self,
        reader: InboxReader,
        take: Callable[[list[InboxEntry]], Awaitable[None]],
        retry: Retry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reader = reader
        self._take = take
        self._retry = retry
        self._clock = clock
        self._untrimmed = self._untrimmed_bytes = 0
        self._trimmed_at = clock()
        self._forgot_at = clock()

    async def run(self) -> None:
        """A loop for as long as the node lives. While Redis is away it tries again with backoff."""
        while True:  # not `Retry.forever`: the next read leaves at once, without a turn of the event loop in between
            try:
                await self._turn()
            except BusError as error:
                await asyncio.sleep(self._retry.failed(error))
            else:
                self._retry.succeeded()

    async def _turn(self) -> None:
        entries = await self._reader.read(BLOCK_MS)
        if entries:
            await self._take(entries)
            self._untrimmed += len(entries)
            self._untrimmed_bytes += sum([len(entry.entry) for entry in entries])
        if self._is_trim_due():
            await self._reader.trim()
            self._untrimmed = self._untrimmed_bytes = 0
            self._trimmed_at = self._clock()
        if self._clock() - self._forgot_at >= FORGET_S:
            await self._reader.forget_silent()
            self._forgot_at = self._clock()

    def _is_trim_due(self) -> bool:
        if self._untrimmed >= TRIM_ENTRIES:
            return True
        pause_s = TRIM_S if self._untrimmed_bytes > FEW_BYTES else FEW_S
        return self._untrimmed > 0 and self._clock() - self._trimmed_at >= pause_s
