"""Who holds which lane."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Lease:
    """That this app-node holds this lane. `token` is higher than that of all leases of the lane before.

    What is done on behalf of a lease has no effect once another node has taken the lane over.
    """

    lane: int
    node_id: str
    token: int


class Leases(Protocol):
    """Who holds which lane. Timed by Redis' own clock alone.

    A holder must regard its lease as run out `lease_ms` after it *sent* the last renewal that worked.
    """

    async def acquire(self, lane: int, node_id: str, lease_ms: int, *, stood_still: bool = False) -> Lease | None:
        """The lease; None while another node holds the lane.

        It takes the lane's reading position over in the same step: from now on a former holder reads nothing more.
        `LaneReader.claim` then gives what former holders left. Who acquires its own lane again gets a new token.
        `stood_still`: it lost the lane since its event loop stood still. Then what it had been given counts as taken
        over (`LaneEntry.takeovers`), as by another node. Else it does not.
        """

    async def renew(self, leases: Collection[Lease], lease_ms: int) -> set[int]:
        """Prolongs these leases in one round trip. Returns the lanes that are still ours."""

    async def bar_former(self, leases: Collection[Lease]) -> set[str]:
        """Bars the former holders of these lanes that have not released them in good order. Returns their node ids.

        Call it after `acquire` and before the lane's first handler. What a barred node has made until now is not
        appended to any io-node's inbox from then on (`AppendResult.BARRED`): a process that was paused may wake up
        with an append half sent. After a lost answer, repeat it: it bars again those whom it did not reach.
        """

    async def release(self, lease: Lease, *, settled: bool = True) -> None:
        """Gives the lane back, so that another node may acquire it at once. Without effect where it is not ours.

        `settled`: all that this lease has caused is in Redis. Else the next holder bars us, as after a crash.
        """
