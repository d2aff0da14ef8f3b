"""What former holders left comes in pages: the next one is claimed when the one before has had its turns."""

from typing import Protocol

from app_node.lanes.lane import Lane
from sio_cluster.streams.api.lanes import Claimed, LaneEntry, Unclaimed


class Reader(Protocol):
    """The part of `streams.api.lanes.LaneReader` that is needed here."""

    async def claim_more(self, rest: Unclaimed) -> Claimed: ...


class Pages:
    """Knows of which lanes there is more to claim. Nothing new of such a lane may be read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._rest: dict[Lane, Unclaimed] = {}

    def __contains__(self, lane: Lane) -> bool:
        """Whether former holders of this lane left more."""
        return lane in self._rest

    def begin(self, lane: Lane, first: Claimed) -> None:
        """The lane was claimed, and this is the first page."""
        if first.rest is not None:
            self._rest[lane] = first.rest

    async def next(self, lane: Lane) -> list[LaneEntry]:
        """The next page. [] where the lane was dropped meanwhile. Raises BusError."""
        page = await self._reader.claim_more(self._rest[lane])
        if lane not in self._rest:
            return []
        if page.rest is None:
            del self._rest[lane]
        else:
            self._rest[lane] = page.rest
        return page.entries

    def drop_lane(self, lane: Lane) -> None:
        """Forgets what there is to claim: the lane's next holder claims it."""
        self._rest.pop(lane, None)
