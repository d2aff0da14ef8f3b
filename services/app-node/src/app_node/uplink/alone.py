"""Works off quarantines: one fact at a time, on an app-node that holds no lanes unless it is the only one.

A fact in quarantine was taken over unfinished twice. It is read, handled and committed before the next is read. So if
the process ends, it was this one's handler that ended it: the next app-node finds it with a third takeover, and sets it
aside (`uplink.condemned`). All others are as they were.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from app_node.clients.client import Clients
from app_node.counters import Counters
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.uplink.consumer import MOST_TAKEOVERS, Consumer
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.api import LaneEntry, LaneReader

log = structlog.get_logger()

PATIENCE_S = 60.0
"""How long a handler may take in quarantine. Then it is stopped, and its fact is set aside: others wait for it."""

LOOK_S = 0.1
"""How often it is looked whether the quarantine is still ours, while a handler runs."""


class Alone:
    """The quarantines that the keeper holds."""

    def __init__(self, reader: LaneReader, consumer: Consumer, clients: Clients, counters: Counters) -> None:
        self._reader = reader
        self._consumer = consumer
        self._clients = clients
        self._counters = counters
        self._claimed: dict[Lane, deque[LaneEntry]] = defaultdict(deque)
        self._unended: set[bytes] = set()  # ids of entries whose handler took too long

    async def run(self, keeper: LaneKeeper) -> None:
        """A loop for as long as the node lives. Retried while Redis is away."""
        retry = Retry("quarantine", self._counters.redis_retries)
        while True:
            number = min(keeper.workable, default=None)
            if number is None:
                keeper.changed.clear()
                await keeper.changed.wait()
                continue
            try:
                await self._turn(keeper.held[number], keeper)
            except BusError as error:
                await asyncio.sleep(retry.failed(error))
            else:
                retry.succeeded()

    def take(self, lane: Lane, entries: Sequence[LaneEntry]) -> None:
        """Takes what a former holder of this quarantine left."""
        self._claimed[lane] = deque(
            replace(entry, takeovers=MOST_TAKEOVERS) if entry.id in self._unended else entry for entry in entries
        )

    def drop_lane(self, lane: Lane) -> None:
        """Forgets what a former holder of this quarantine left."""
        self._claimed.pop(lane, None)

    async def _turn(self, lane: Lane, keeper: LaneKeeper) -> None:
        """Handles the next fact of this quarantine to its end. Gives the quarantine back where there is none."""
        lane.expect()
        try:
            entry = await self._next(lane)
            if entry is not None:
                self._consumer.take(lane, entry)
            elif not await self._reader.peek(lane.number, 1):
                keeper.finish(lane)
                return
        finally:
            lane.arrived()
        if entry is None:  # another app-node has it: `keeper` will know
            await asyncio.sleep(LOOK_S)
        elif not await self._ended(lane):
            self._unended.add(entry.id)
            log.error("handler_unended", lane=lane.number, id=entry.id.decode(), seconds=PATIENCE_S)
            keeper.lose(lane)
        self._clients.drop_lane(lane)

    async def _next(self, lane: Lane) -> LaneEntry | None:
        claimed = self._claimed[lane]
        if claimed:
            return claimed.popleft()
        return next(iter(await self._reader.read([lane.number], 0, 1)), None)

    async def _ended(self, lane: Lane) -> bool:
        """Waits until all that is in work is committed, or the lane is lost. False where it takes too long."""
        now = asyncio.get_running_loop().time
        deadline = now() + PATIENCE_S
        while lane.held() and not lane.idle.is_set():
            if now() >= deadline:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await lane.idle.wait()
        return True
