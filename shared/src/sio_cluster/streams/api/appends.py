"""Appending to lanes and inboxes."""

import enum
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease

FLUSH_BYTES = 1_000_000
"""How many bytes one atomic step appends, at most: Redis serves nobody else meanwhile."""

COMMIT_IDS = 1_000
"""How many entries one commit names, at most."""


class AppendResult(enum.Enum):
    """What became of one append."""

    APPENDED = 0
    """The entry is in the stream."""
    DUPLICATE = 1
    """The stream had it before, or a later one of the same node. This was the retry of a success: go on."""
    FULL = 2
    """The stream holds too many bytes. Nothing has happened: keep the entry with its `seq`, and try again later."""
    NOBODY = 4
    """The entry is only for rooms in which this home has no members. It is not in the stream, and need not be."""
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
    `only_for`: the rooms that the entry concerns alone, at most MOST_ROOMS; None: it concerns the home in any case.
    `lets_into`: the rooms that clients of this home enter by it, any number. See `api.interest`.
    """

    stream: str
    node_id: str
    seq: int
    entry: bytes
    max_bytes: int
    bar: int = 0
    urgent: bool = False
    only_for: Collection[Room] | None = None
    lets_into: Collection[Room] = ()


@dataclass(frozen=True, slots=True)
class Commit:
    """What is done of one lane. `lease`: by which it is held.

    `ids`: entries that are done; they are forgotten for good. `size`: their bytes together. `notes`: of entries that
    are done in part, the numbers of the facts that are, from 0; whoever claims the entry is told (`LaneEntry.done`).
    `noted`: those of `ids` of which there may be such notes. At most COMMIT_IDS of each.
    """

    lease: Lease
    ids: Sequence[bytes]
    size: int
    notes: Sequence[tuple[bytes, Sequence[int]]] = ()
    noted: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Flushed:
    """What became of a flush.

    `lost`: the leases of its commits that are lost. `appends`: what became of each append; empty where none was tried,
    since a lease is lost. `committed`: whether all commits were carried out; else none was.
    """

    lost: Sequence[Lease]
    appends: Sequence[AppendResult]
    committed: bool


class Appender(Protocol):
    """Appends entries to lanes and inboxes, each at most once however often it is tried."""

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        """One round trip. At most one entry for each stream, else ValueError.

        Up to FLUSH_BYTES together are one atomic step: a read that waits for several of these streams gets all of it.
        More are several steps, of which each stream has one. After BusUnavailable or BusRefused some may have been
        appended: try all of them again with the same `seq`.
        """

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        """How many bytes of entries each of these streams holds. One round trip."""

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        """How often each of these streams has barred this node. One round trip."""


class Flusher(Appender, Protocol):
    """Appends, and commits lane entries in the same step."""

    async def flush(self, appends: Sequence[Append], commits: Sequence[Commit]) -> Flushed:
        """Appends, and commits what is done once all of that is written. One round trip.

        It is one atomic step as long as the entries to append have at most FLUSH_BYTES together; with more, the commits
        are a step of their own. With a lost lease nothing happens. Where an append is FULL or BARRED, the others are
        written, and nothing is committed. After BusUnavailable or BusRefused try again with the same `seq`.

        At most one append for each stream and one commit for each lane, else ValueError.
        """


def require_distinct(appends: Sequence[Append]) -> None:
    """Raises ValueError where two appends of one call name the same stream.

    A stream that is full for the first could take a smaller second one, whose higher `seq` makes a duplicate of the
    first.
    """
    if len({append.stream for append in appends}) != len(appends):
        raise ValueError("one call takes at most one append for each stream")


def require_fitting(commits: Sequence[Commit]) -> None:
    """Raises ValueError where two commits of one call name the same lane, or one has too many entries, or none."""
    if len({commit.lease.lane for commit in commits}) != len(commits):
        raise ValueError("one call takes at most one commit for each lane")
    if not all(0 < max(len(commit.ids), len(commit.notes)) <= COMMIT_IDS for commit in commits):
        raise ValueError(f"a commit has 1 to {COMMIT_IDS} entries")


_SETTLED = frozenset({AppendResult.APPENDED, AppendResult.DUPLICATE, AppendResult.NOBODY})


def are_written(results: Iterable[AppendResult]) -> bool:
    """Whether all of these are in their streams, or concern nobody."""
    return all(result in _SETTLED for result in results)
