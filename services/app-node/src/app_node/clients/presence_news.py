"""Tells rooms who has come and who has gone: the news of the lanes that this app-node holds.

    a change of a client's record  ->  news of its lane  ->  `presence_diff` in the room  ->  the news are removed

The lane is what makes it exact. Its holder alone tells its news, in their order. What it says counts for the lane, so
it is dropped if the lane is lost, and barred if it comes late. The next holder begins with the first news that are not
removed. So a room may hear something twice, which changes nothing for those who listen: each meta has a ref of its own.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from app_node.clients.presences import DIFF, Presences, diff_of
from app_node.counters import Counters
from app_node.downlink.emitter import Emitter
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress, current_progress
from app_node.payloads import Payload
from sio_cluster.node.monitoring.log import log_raised
from sio_cluster.node.rest import left_s
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError, LeaseLost
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.presences import Meta, News
from sio_cluster.streams.api.presences import Presences as BusPresences

LOOK_S = 0.1
"""How often it looks for news, once there were any. Until then it looks once a heartbeat."""


class PresenceNews:
    """`lanes()`: those of which this app-node may tell now."""

    def __init__(
        self,
        presences: BusPresences,
        *,
        form: Presences,
        emitter: Emitter,
        lanes: Callable[[], Iterable[Lane]],
        heartbeat_ms: int,
        counters: Counters,
    ) -> None:
        self._presences = presences
        self._form = form
        self._emitter = emitter
        self._lanes = lanes
        self._pause_s = heartbeat_ms / 1000
        self._counters = counters
        self._retry = Retry("presence_news", counters.redis_retries)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be news now."""
        self._pause_s = min(self._pause_s, LOOK_S)
        self._wake.set()

    async def run(self) -> None:
        """A loop for as long as the node lives. Retried while Redis is away."""
        while True:
            try:
                await self.look()
            except BusError as error:
                await asyncio.sleep(self._retry.failed(error))
                continue
            self._retry.succeeded()
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s(self._pause_s)):
                    await self._wake.wait()

    async def look(self) -> None:
        """One turn. Raises BusError."""
        self._wake.clear()
        lanes = list(self._lanes())
        found = await self._presences.news([lane.lease for lane in lanes])
        may_tell = set(self._lanes())  # a lane may have been lost, or be about to move, since they were read
        for lane, news in zip(lanes, found, strict=True):
            if news and lane in may_tell:
                self.wake()  # there may be more
                await self._tell(lane, news)
                may_tell = set(self._lanes())

    async def _tell(self, lane: Lane, news: Sequence[News]) -> None:
        lane.expect()  # it is not handed over before
        try:
            if await self._emit(lane, news):
                self._counters.presence_news += len(news)
                await self._presences.told(lane.lease, news)
        finally:
            lane.arrived()

    async def _emit(self, lane: Lane, news: Sequence[News]) -> bool:
        """Whether Redis has all of it."""
        landed = asyncio.Event()
        progress = EntryProgress(lane, b"", False, lambda _: landed.set())
        token = current_progress.set(progress)
        try:
            for (namespace, room), (joins, leaves) in by_room(news).items():
                payload = self._payload(joins, leaves, room)
                if payload is not None:
                    await self._emitter.emit(namespace, payload, [room], [])
        except LeaseLost:
            return False
        finally:
            current_progress.reset(token)
            progress.end()
        await landed.wait()
        return lane.held()

    def _payload(self, joins: list[Meta], leaves: list[Meta], room: Room) -> Payload | None:
        """None where it cannot be written. Other rooms, and what comes later, must not wait for that."""
        try:
            return self._form.payload(DIFF, diff_of(joins, leaves), room)
        except BaseException:  # noqa: BLE001 - what the application's own JSON module raises, which may be anything
            log_raised("presence_diff_failed", room=room)
            return None


def by_room(news: Iterable[News]) -> dict[tuple[str, Room], tuple[list[Meta], list[Meta]]]:
    """What came and what went in each room, in the end. What came and went again has gone."""
    joins: dict[tuple[str, Room], dict[str, Meta]] = {}
    leaves: dict[tuple[str, Room], dict[str, Meta]] = {}
    for one in news:
        place = one.meta.namespace, one.meta.room
        came, went = joins.setdefault(place, {}), leaves.setdefault(place, {})
        if one.shown:
            came[one.meta.ref] = one.meta
        else:
            came.pop(one.meta.ref, None)
            went[one.meta.ref] = one.meta
    return {place: (list(came.values()), list(leaves[place].values())) for place, came in joins.items()}
