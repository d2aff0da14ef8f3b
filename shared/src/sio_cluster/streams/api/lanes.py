"""Reading lanes and their quarantines: what is read stays there until it is committed, moved or set aside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from sio_cluster.protocol.ids import is_quarantine
from sio_cluster.streams.api.leases import Lease

PAGE_ENTRIES = 256
"""How many entries one page of `LaneReader.claim` and `peek` brings, at most."""

DEAD_LETTERS_KEPT = 1_000
"""How many dead letters a lane keeps. One more, and the oldest goes."""


@dataclass(frozen=True, slots=True)
class LaneEntry:
    """One uplink batch, still encoded. `done`: the numbers of its facts that former holders have noted as done.

    `redelivered`: a former holder was given it, and may have handled it. `takeovers`: how often the lane was taken over
    from a holder that had been given it and did not finish it, at most 3. A holder that released the lane in good order
    does not count, nor does one that acquired its own lane again, unless it had stood still (`Leases.acquire`). In a
    quarantine, an entry begins with 2.
    """

    lane: int
    id: bytes
    entry: bytes
    redelivered: bool
    takeovers: int = 0
    done: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """What the holder of a lane has yet to claim, by its lease with this token: the entries behind the id `after`."""

    lane: int
    token: int
    after: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """One page of what former holders of a lane left, in order. `rest`: where the next page begins; None: no more."""

    entries: list[LaneEntry]
    rest: Unclaimed | None = None


class LaneReader(Protocol):
    """Reads the lanes that one app-node holds. What it read stays in the lane until it is committed
    (`appends.Flusher.flush`).

    Each lane has a *quarantine*, which is a lane of its own with the number `ids.quarantine_of(lane)`: it is acquired,
    claimed, read and committed in the same way. Nobody appends to it; `quarantine` moves entries there.

    One `read` at a time. Entries whose answer was lost come with the next read, in order.
    """

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        """New entries of these lanes, at most `count` of each lane, in order within a lane.

        [] when none came within `block_ms`, or when `interrupt` ended the read. A lane that another node has taken
        over brings nothing; `Flusher.flush` and `Leases.renew` say that it is lost.
        """

    async def claim(self, lane: int) -> Claimed:
        """The first page of what former holders were given and did not commit. Empty where the lane is not ours.

        Call it after `Leases.acquire`. Then claim the rest, page by page, before the first read of the lane. Those that
        were taken over most often come first. Entries of later pages are not given to us yet: if we die, they do not
        count as taken over from us.
        """

    async def claim_more(self, rest: Unclaimed) -> Claimed:
        """The next page. Empty where the lane is not ours, or is ours by another lease."""

    async def peek(self, lane: int, count: int = PAGE_ENTRIES, after: bytes = b"") -> list[LaneEntry]:
        """The first entries that the lane holds behind the id `after`, whoever holds it. They are given to nobody.

        At most `count` of them, and at most a page.
        """

    async def interrupt(self) -> None:
        """Ends a read that blocks at once, with []. Without effect while no read is under way."""

    async def quarantine(self, lease: Lease, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        """Moves entries to the end of the lane's quarantine, in this order. Raises LeaseLost.

        Each move is the id of an entry, and the entries that it becomes there. It happens as a whole or not at all, and
        a second time it does nothing. A full Redis takes it.
        """

    async def set_aside(self, lease: Lease, entry: LaneEntry, why: str) -> int:
        """Moves an entry that cannot be handled to the lane's dead letters, and commits it. Raises LeaseLost.

        A lane and its quarantine have their dead letters in common. Returns how many older dead letters went for good
        to make room: a lane keeps `DEAD_LETTERS_KEPT`.
        """

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Up to which place of a lane entries were taken over once and twice. Places are those of one bus, and rise."""

    once: tuple[int, int]
    twice: tuple[int, int]

    def taken_over(self, given: tuple[int, int]) -> "Counted":
        """After one more takeover, from a holder that was given the entries up to this place."""
        return Counted(max(self.once, given), max(self.twice, min(self.once, given)))

    def of(self, lane: int, place: tuple[int, int]) -> int:
        """How often the entry at this place was taken over: see `LaneEntry`."""
        if is_quarantine(lane):
            return 2 + (place <= self.once)
        return (place <= self.once) + (place <= self.twice)
