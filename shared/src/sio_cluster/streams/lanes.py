"""Reading lanes: many streams, one holder each, nothing forgotten before it is committed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sio_cluster.streams.connection import Bus


@dataclass(frozen=True, slots=True)
class LaneEntry:
    """One uplink batch, still encoded. `redelivered`: a former holder may have handled it, in part or in whole."""

    lane: int
    id: bytes
    entry: bytes
    redelivered: bool


class LaneReader:
    """Reads the lanes that `consumer` holds; it is the `holder` of their leases."""

    def __init__(self, bus: Bus, consumer: str) -> None:
        self._bus = bus

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        """New entries of these lanes, at most `count` of each, in order within a lane; [] on timeout or interrupt."""
        raise NotImplementedError

    async def claim(self, lane: int) -> list[LaneEntry]:
        """At takeover, before the first read: what former holders were given and did not commit, in order."""
        raise NotImplementedError

    async def interrupt(self) -> None:
        """Ends a blocked read at once, with []."""
        raise NotImplementedError

    async def commit(self, lane: int, token: int, ids: Sequence[bytes]) -> None:
        """Forgets these entries for good. Raises LeaseLost, without effect, when `token` is not the lane's latest."""
        raise NotImplementedError

    async def set_aside(self, lane: int, token: int, entry: LaneEntry, why: str) -> None:
        """Moves an entry that cannot be decoded to the lane's dead stream and commits it. Raises LeaseLost."""
        raise NotImplementedError

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""
        raise NotImplementedError
