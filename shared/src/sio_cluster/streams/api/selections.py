"""Changes for all clients that match, whoever holds them and wherever they are.

    cursor = None
    while True:
        found = await selections.candidates(selection, cursor)
        matched = await selections.change(selection, found.sids, change)      whom it concerned: tell their io-nodes
        cursor = found.cursor
        if cursor is None: break

What a client's record says decides whether it matches, at the moment at which it is changed. So a selection is no
picture of one moment: it goes through the room index, some clients at a time. A client that matches from the first call
to the last is changed. One that comes to match meanwhile may be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease

MOST_ROOMS = 100
"""How many rooms a change may name."""
LEFT_MS = 600_000
"""How long it is remembered who left a room by a change that says so (`RoomsChange.noted`)."""
MOST_PAIRS = 500
"""How many clients, times the rooms of the change, one call of `change` should get: Redis does nothing else
meanwhile, for some 6 ms."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Clients of one namespace: those in one of the rooms `to`, None: all. But none that is in one of `except_rooms`.

    The sid of a client is a room in which it alone is.
    """

    namespace: str
    to: tuple[Room, ...] | None
    except_rooms: tuple[Room, ...] = ()


@dataclass(frozen=True, slots=True)
class RoomsChange:
    """To enter these rooms (`inside`), or to leave them. At most MOST_ROOMS.

    `noted`: of those that are left, those of which it is noted for LEFT_MS who has left them by this change.
    """

    rooms: tuple[Room, ...]
    inside: bool
    noted: tuple[Room, ...] = ()


class Cursor:
    """Where to go on. Each bus has its own kind, which nobody else looks into."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Candidates:
    """Some clients that may match, each once, and where to go on. `cursor` None: these were the last ones."""

    sids: list[str]
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class Matched:
    """Those who matched. `away`: they have lost their connection, and may come back."""

    here: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)


class Selections(Protocol):
    """Selects clients by their records, and changes the rooms of those."""

    async def candidates(
        self, selection: Selection, cursor: Cursor | None = None, *, left: Sequence[Room] = ()
    ) -> Candidates:
        """The next clients that may match, some hundreds. Some of the pages may be empty.

        Changes nothing. Every client that matches throughout is named, perhaps more than once. So is everybody
        of whom it is noted that they left one of the rooms `left`. Give the same `left` to each call.
        """

    async def change(
        self,
        selection: Selection,
        sids: Sequence[str],
        change: RoomsChange | None = None,
        lease: Lease | None = None,
        *,
        again: bool = False,
    ) -> Matched:
        """Of these clients, those that match now. Their records and the room index have the change from then on.

        `lease`: as for `ClientRecords.update`. Raises LeaseLost where it is lost; clients of other lanes are changed.

        `again`: this call was made before, and its answer was lost, or what should have followed. Then those count too
        whose records say already what the change says: it may have been this change, after which they match no more.
        """
