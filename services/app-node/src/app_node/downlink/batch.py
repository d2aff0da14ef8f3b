"""The commands that leave for one inbox together."""

import asyncio

from app_node.lanes.progress import EntryProgress
from sio_cluster.protocol.messages import Command, ServerItem

STOPPED = "this app-node was stopped: Redis may not have all of this"


class Batch:
    """The commands of one inbox entry, and who waits until it has landed."""

    __slots__ = ("_landed", "_outcome", "items", "last_progress", "since", "size", "waiting")

    def __init__(self, since: float) -> None:
        self.since = since  # when it began, in seconds of the app-node's clock
        self.items: list[tuple[Command | ServerItem, EntryProgress | None]] = []
        """Each with the lane entry that caused it."""
        self.size = 0  # bytes, about
        self.waiting: list[EntryProgress] = []  # lane entries that are not done before this has landed
        self.last_progress: EntryProgress | None = None  # the latest of them: most commands in a row have the same
        self._landed: asyncio.Event | None = None
        self._outcome: bool | None = None

    async def landed(self) -> bool:
        """Waits until the batch has come to its end. True: Redis has it, or it concerns nobody. False: it was dropped.

        Raises RuntimeError where the app-node ended before that.
        """
        if self._outcome is None:
            if self._landed is None:
                self._landed = asyncio.Event()
            await self._landed.wait()
        if self._outcome is None:
            raise RuntimeError(STOPPED)
        return self._outcome

    def finish(self, written: bool) -> None:
        """The batch has come to its end: tells all who wait."""
        self._outcome = written
        if self._landed is not None:
            self._landed.set()
        for progress in self.waiting:
            progress.end()

    def abandon(self) -> None:
        """Nobody brings the batch to its end any more."""
        if self._landed is None:
            self._landed = asyncio.Event()
        self._landed.set()

    def drop_lost(self) -> int:
        """Drops the commands that lane entries of lost lanes caused: the next holder's handlers say them again.

        Returns how many they were.
        """
        held = {progress: progress.lane.held() for progress in self.waiting}
        kept = [item for item in self.items if item[1] is None or held[item[1]]]
        dropped = len(self.items) - len(kept)
        if dropped:
            self.items = kept
        return dropped
