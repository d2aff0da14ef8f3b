"""Reading the inbox of one process."""

from typing import Protocol


class InboxReader(Protocol):
    """Reads the inbox of one process, which nobody else reads: each entry once and in order, over lost answers too."""

    async def read(self, block_ms: int) -> list[bytes]:
        """The entries after the last one that was read. [] when none came within `block_ms` (0: does not wait)."""

    async def trim(self) -> None:
        """Removes what was read, and gives its bytes back to those who append."""

    async def forget_silent(self) -> None:
        """Forgets the sequence numbers of nodes that have appended nothing since the last call of this method.

        The first call forgets nobody. Call it at long intervals: an append that is tried again after its node was
        forgotten is appended again. What bars a node stays (`Leases.bar_former`).
        """

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""
