"""Reading the inbox of one process."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sio_cluster.protocol.messages import Room


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One entry. `id` is its place in the inbox: two numbers, of which the first is Redis' time in ms (b"1690-0")."""

    id: bytes
    entry: bytes


def order(entry_id: bytes) -> tuple[int, int]:
    """By which ids of entries are sorted."""
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


@dataclass(frozen=True, slots=True)
class RoomOp:
    """A client entered a room (`inside`) or left it."""

    sid: str
    room: Room
    inside: bool


class InboxReader(Protocol):
    """Reads the inbox of one process, which nobody else reads: each entry once and in order, over lost answers too."""

    async def read(self, block_ms: int) -> list[InboxEntry]:
        """The entries after the last one that was read. [] when none came within `block_ms` (0: does not wait)."""

    async def trim(self) -> None:
        """Gives the bytes of what was read back to those who append. Removes it, too, unless the reader keeps a log."""

    async def forget_log(self, up_to: bytes, ops: Sequence[RoomOp]) -> None:
        """Of a reader that keeps a log: removes the entries up to this id, which becomes the log's horizon.

        `ops`: what these entries said of the rooms of this home's clients, in order. They become part of what
        `api.homes.Homes.rooms` answers in the same step, except for clients that are gone for good. Repeating it does
        no harm.
        """

    async def forget_silent(self) -> None:
        """Forgets the sequence numbers of nodes that have appended nothing since the last call of this method.

        The first call forgets nobody. Call it at long intervals: an append that is tried again after its node was
        forgotten is appended again. What bars a node stays (`Leases.bar_former`).
        """

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""
