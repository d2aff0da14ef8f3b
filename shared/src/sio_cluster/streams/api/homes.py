"""Homes: the inboxes of io-nodes as logs, from which a client that comes back is told what it missed.

A client's home is the io-node that its sid names. Whatever is said to the client goes through the inbox of its home,
whichever io-node holds the client's connection. A home keeps what was read for a while: from its *horizon*, the last id
that is gone, to its end. So the io-node to which a client returns reads there what the client missed, and goes on
reading for as long as it has the client.

A home whose io-node died or left is *parked*: nobody reads it any more, but it still takes what is appended, and
drops its oldest entries where there are too many. It ends when it has no client any more.

There is such a home from when its io-node has read its inbox for the first time (or it was parked) until the io-node is
unregistered, or the home ends.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sio_cluster.protocol.messages import Room
from sio_cluster.protocol.recovery import Position
from sio_cluster.streams.api.inboxes import InboxEntry, RoomOp
from sio_cluster.streams.api.quiet import Gone, Marks


@dataclass(frozen=True, slots=True)
class AtHorizon:
    """Where a home's log begins (b"0-0": it has all), and the rooms of one client at that place."""

    horizon: bytes
    rooms: frozenset[Room]


class HomeTail(Protocol):
    """Reads on in the log of a home, as its second reader. Removes nothing."""

    async def read(self, block_ms: int) -> list[InboxEntry]:
        """The entries after the last one that was read. [] when none came within `block_ms` (0: does not wait).

        Raises HomeLost when entries that were not read are gone, or the whole home is.
        """

    async def close(self) -> None:
        """Closes the connection. Idempotent."""


class Homes(Protocol):
    """The logs of all homes."""

    async def horizon(self, home: str) -> bytes | None:
        """The last id that is gone from the log (b"0-0": none). None where there is no such home."""

    async def page(self, home: str, after: bytes, count: int = 500) -> list[InboxEntry]:
        """The next entries behind this id, at most `count`. [] at the end."""

    async def rooms(self, home: str, sid: str, since: Position | None) -> AtHorizon | None:
        """The client's rooms at the horizon, with the horizon, in one step.

        `since`: behind this place in the log the client waited for its first Accept (`ClientConnected.since`). None:
        nobody knows.
        None where there is no such home, or where nobody knows: entries are gone that nobody has read, since a parked
        home had to drop them, or Redis lost them, or they could not be decoded. Of a client that came later, nothing
        was said there.
        """

    async def absent(self, home: str) -> list[str]:
        """The clients of this home that are away or held by another io-node, in any order. [] without such a home."""

    async def mark_gone(self, home: str, gone: Gone, up_to: bytes) -> None:
        """Keeps what `api.quiet` says of the entries behind the horizon up to this id, which are about to be forgotten.

        Where entries were forgotten without that, or there are too many marks, all marks are given up.
        """

    async def marks(self, home: str, sid: str, namespace: str, rooms: Iterable[Room]) -> Marks:
        """What is marked of this client. `rooms`: its rooms at the horizon."""

    def tail(self, home: str, after: bytes, max_batch_bytes: int = 4_000_000) -> HomeTail:
        """A reader of what comes behind this id, with a connection of its own. Does no IO."""

    async def park(self, home: str, max_bytes: int) -> None:
        """Nobody reads this home any more. It stays registered, so that it gets what is said to its clients, and is
        neither alive nor lost (`Registry.parked_io_nodes`). Repeating it does no harm.

        `forget_parked` is expected to keep it small. Where an append would make it hold more than `max_bytes`, its
        oldest entries go, and `rooms` knows nothing of clients that were there by then. The append is never FULL.
        """

    async def forget_parked(self, home: str, up_to: bytes, ops: Sequence[RoomOp] | None) -> None:
        """As `InboxReader.forget_log`, for a parked home.

        `ops` None: nobody knows what these entries said. Then `rooms` knows nothing of clients that were there by then.
        """

    async def forget_silent(self, home: str, last_seq: Mapping[str, int]) -> Mapping[str, int]:
        """As `InboxReader.forget_silent`, for a parked home. Returns each node's sequence number.

        `last_seq`: what the call before returned, {} in the first call.
        """

    async def end(self, home: str) -> bool:
        """Removes a parked home, if no client of it has a record any more. Returns whether it is gone.

        So one whose disconnect waits in its lane keeps its home. False for a home that is not parked.
        """
