"""Appending to lanes and inboxes."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class AppendResult(enum.Enum):
    """What became of one append."""

    APPENDED = 0
    """The entry is in the stream."""
    DUPLICATE = 1
    """The stream had it before, or a later one of the same node. This was the retry of a success: go on."""
    FULL = 2
    """The stream holds too many bytes. Nothing has happened: keep the entry with its `seq`, and try again later."""
    BARRED = 3
    """A lane of this node was taken over since the entry was made. Nothing has happened: ask `bars`, make the entry
    again without what belongs to lost lanes, and append it with that bar."""


@dataclass(frozen=True, slots=True)
class Append:
    """One entry for one stream.

    `node_id`: who appends. `seq` rises with each entry of this node to this stream; a retry keeps its `seq`.
    `max_bytes` bounds what the stream holds together with this entry. An empty stream takes an entry of any size.
    `bar`: how often this stream had barred the node when the entry was made, as far as the node knows.
    `urgent`: a Redis that is out of memory takes it too. For what must be written before anything can be removed.
    """

    stream: str
    node_id: str
    seq: int
    entry: bytes
    max_bytes: int
    bar: int = 0
    urgent: bool = False


class Appender(Protocol):
    """Appends entries to lanes and inboxes, each at most once however often it is tried."""

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        """One round trip. At most one entry for each stream, else ValueError.

        Each stream is atomic by itself. After BusUnavailable or BusRefused some may have been appended: try all of
        them again with the same `seq`.
        """

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        """How many bytes of entries each of these streams holds. One round trip."""

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        """How often each of these streams has barred this node. One round trip."""


def require_distinct(appends: Sequence[Append]) -> None:
    """Raises ValueError where two appends of one call name the same stream.

    A stream that is full for the first could take a smaller second one, whose higher `seq` makes a duplicate of the
    first.
    """
    if len({append.stream for append in appends}) != len(appends):
        raise ValueError("one call takes at most one append for each stream")
