"""Writing a stream entry exactly once."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from sio_cluster.streams.connection import Bus


class AppendResult(enum.Enum):
    """What became of one append."""

    APPENDED = 0
    DUPLICATE = 1
    FULL = 2


@dataclass(frozen=True, slots=True)
class Append:
    """One entry for one stream. `seq` rises with each entry of this sender to this stream; a retry keeps its `seq`."""

    stream: str
    sender: str
    seq: int
    entry: bytes
    max_bytes: int


class Appender:
    """Appends entries, each at most once however often it is retried."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        """One round trip; at most one entry for each stream."""
        raise NotImplementedError


def require_distinct(appends: Sequence[Append]) -> None:
    """Raises ValueError where two appends of one call name the same stream.

    A stream that is full for the first would take a smaller second, whose higher `seq` makes the first a duplicate.
    """
    if len({append.stream for append in appends}) != len(appends):
        raise ValueError("one call takes at most one append for each stream")
