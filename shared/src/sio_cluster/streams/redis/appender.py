"""Writing a stream entry exactly once."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.bus import Bus
from sio_cluster.streams.redis.scripts import APPEND

INBOX_TTL_MS = 600_000
"""An inbox that nobody reads is gone after this time; its reader refreshes it."""


class AppendResult(enum.Enum):
    """What became of one append."""

    APPENDED = 0
    """The entry is in the stream."""
    DUPLICATE = 1
    """It was there before, or its sender has appended a later one: the retry of a success. Go on."""
    FULL = 2
    """The stream holds too much. Nothing has happened: keep the entry and its `seq`, and try later."""
    BARRED = 3
    """A lane of this sender was taken over since the entry was made. Nothing has happened: ask `bars`, make the entry
    anew without what belongs to lost lanes, and append it with that bar."""


_RESULTS = (AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.FULL, AppendResult.BARRED)


@dataclass(frozen=True, slots=True)
class Append:
    """One entry for one stream. `seq` rises with each entry of this sender to this stream; a retry keeps its `seq`.

    `max_bytes` bounds what the stream holds together with this entry; an empty stream takes an entry of any size.
    `urgent`: a Redis that is out of memory takes it, too. For what must be written before something else is removed.
    `bar`: how often this sender was barred at this stream before the entry was made, as far as it knows.
    """

    stream: str
    sender: str
    seq: int
    entry: bytes
    max_bytes: int
    bar: int = 0
    urgent: bool = False


class Appender:
    """Appends entries, each at most once however often it is retried."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        """One round trip; at most one entry for each stream, else ValueError.

        Raises BusUnavailable or BusRefused: some of them may have been appended, retry all with the same `seq`.
        """
        require_distinct(appends)
        replies = await self._bus.run(*[
            (
                "EVALSHA", APPEND.sha, 2, append.stream, Keys.state(append.stream), append.sender, append.seq,
                append.entry, append.max_bytes, INBOX_TTL_MS if Keys.is_inbox(append.stream) else 0, append.bar,
                int(append.urgent),
            )
            for append in appends
        ])  # fmt: skip
        return [_RESULTS[reply] for reply in replies]

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        """What each of these streams holds, in bytes of entries. One round trip."""
        replies = await self._bus.run(*[("HGET", Keys.state(stream), "bytes") for stream in streams])
        return [int(reply or 0) for reply in replies]

    async def bars(self, streams: Sequence[str], sender: str) -> list[int]:
        """How often this sender was barred at each of these streams."""
        replies = await self._bus.run(*[("HGET", Keys.state(stream), bar_of(sender)) for stream in streams])
        return [int(reply or 0) for reply in replies]


def bar_of(sender: str) -> str:
    """The field of a stream's state that counts how often a sender was barred."""
    return f"{sender}:bar"


def require_distinct(appends: Sequence[Append]) -> None:
    """Raises ValueError where two appends of one call name the same stream.

    A stream that is full for the first would take a smaller second, whose higher `seq` makes the first a duplicate.
    """
    if len({append.stream for append in appends}) != len(appends):
        raise ValueError("one call takes at most one append for each stream")
