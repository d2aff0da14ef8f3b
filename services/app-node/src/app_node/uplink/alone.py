"""Works off quarantines: one fact at a time, on an app-node that holds no lanes unless it is the only one.

A fact in quarantine was taken over unfinished twice. It is read, handled and committed before the next is read. So if
the process ends, it was this one's handler that ended it: the next app-node finds it with a third takeover, and sets it
aside (`uplink.condemned`). All others are as they were. An app-node that holds lanes too does their work first, for
`rest_s`: what is in quarantine may end it. Then it begins nothing of them for the first second of such a handler: one
that ends its process mostly does so at once.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from app_node.clients.client import Clients
from app_node.counters import Counters
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.uplink.consumer import MOST_TAKEOVERS, Consumer
from app_node.uplink.pages import Pages
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import lane_behind
from sio_cluster.streams.api.lanes import Claimed, LaneEntry, LaneReader

log = structlog.get_logger()

PATIENCE_S = 60.0
"""How long a handler may take in quarantine. Then it is stopped, and its fact is set aside: others wait for it."""

QUICK_S = 1.0
"""How long nothing else begins on this app-node, while such handlers run one after the other."""

REST_S = 0.25
"""After that time, an app-node that holds lanes too does their work for this long."""

LOOK_S = 0.1
"""How often it is looked whether the quarantine is still ours, while a handler runs."""


class Alone:
    """The quarantines that the keeper holds. Calls `on_empty(lane)` when it has worked off that of this lane.

    `rest_s`: how long it waits after each lane or quarantine that this app-node acquires. That one may turn out to be
    the only one a little later: the registry still has one that has died.
    """

    def __init__(
        self,
        reader: LaneReader,
        consumer: Consumer,
        clients: Clients,
        counters: Counters,
        *,
        rest_s: float,
        on_empty: Callable[[int], None],
    ) -> None:
        self._reader = reader
        self._consumer = consumer
        self._clients = clients
        self._counters = counters
        self._on_empty = on_empty
        self._claimed: dict[Lane, deque[LaneEntry]] = defaultdict(deque)
        self._pages = Pages(reader)
        self._unended: set[bytes] = set()  # ids of entries whose handler took too long
        self._rest_s = rest_s
        self._rests_until = 0.0

    async def run(self, keeper: LaneKeeper) -> None:
        """A loop for as long as the node lives. Retried while Redis is away."""
        retry = Retry("quarantine", self._counters.redis_retries)
        now = asyncio.get_running_loop().time
        while True:
            number = min(keeper.workable, default=None)
            if number is None:
                keeper.changed.clear()
                await keeper.changed.wait()
                continue
            if now() < self._rests_until:
                await asyncio.sleep(self._rests_until - now())
                continue
            lane = keeper.held[number]
            try:
                with self._consumer.paused():
                    late = await self._work(lane, keeper)
                if late is not None:
                    await self._bear(lane, late, keeper)
            except BusError as error:
                await asyncio.sleep(retry.failed(error))
            else:
                retry.succeeded()
            if keeper.lanes_held:
                self._rests_until = max(self._rests_until, now() + REST_S)

    def take(self, lane: Lane, claimed: Claimed) -> None:
        """Takes the first page of what a former holder of this quarantine left."""
        self._pages.begin(lane, claimed)
        self._claimed[lane] = deque(claimed.entries)

    def rest(self) -> None:
        """A lane or quarantine was acquired: begins nothing for a while."""
        self._rests_until = asyncio.get_running_loop().time() + self._rest_s

    def drop_lane(self, lane: Lane) -> None:
        """Forgets what a former holder of this quarantine left."""
        self._claimed.pop(lane, None)
        self._pages.drop_lane(lane)

    async def _work(self, lane: Lane, keeper: LaneKeeper) -> LaneEntry | None:
        """Handles facts of this quarantine one after the other, for QUICK_S. Returns one that takes longer.

        Begins no other once a lane was acquired meanwhile: that one's work comes first.
        """
        now = asyncio.get_running_loop().time
        until = now() + QUICK_S
        while keeper.held.get(lane.number) is lane and lane.number in keeper.workable:
            if not self._rests_until <= now() < until:
                return None
            entry = await self._begin(lane, keeper)
            if entry is not None and not await self._ended(lane, QUICK_S):
                return entry
            self._clients.drop_lane(lane)
        return None

    async def _begin(self, lane: Lane, keeper: LaneKeeper) -> LaneEntry | None:
        """Begins with the next fact. Gives the quarantine back where there is none."""
        lane.expect()
        try:
            entry = await self._next(lane)
            if entry is not None:
                self._consumer.take(lane, entry)
            elif await self._reader.peek(lane.number, 1):  # another app-node has it: `keeper` will know
                await asyncio.sleep(LOOK_S)
            else:
                self._on_empty(lane_behind(lane.number))
                keeper.finish(lane)
            return entry
        finally:
            lane.arrived()

    async def _next(self, lane: Lane) -> LaneEntry | None:
        claimed = self._claimed[lane]
        if not claimed and lane in self._pages:
            claimed.extend(await self._pages.next(lane))
        if claimed:
            entry = claimed.popleft()
            return replace(entry, takeovers=MOST_TAKEOVERS) if entry.id in self._unended else entry
        return next(iter(await self._reader.read([lane.number], 0, 1)), None)

    async def _bear(self, lane: Lane, entry: LaneEntry, keeper: LaneKeeper) -> None:
        """Waits for a handler that takes long. After PATIENCE_S it is stopped: who takes the quarantine next, and that
        may be we, finds its entry unfinished."""
        if not await self._ended(lane, PATIENCE_S):
            self._unended.add(entry.id)
            log.error("handler_unended", lane=lane.behind, id=entry.id.decode(), seconds=PATIENCE_S)
            keeper.lose(lane)
        self._clients.drop_lane(lane)

    async def _ended(self, lane: Lane, within_s: float) -> bool:
        """Waits until all that is in work is committed, or the lane is lost. False where it takes longer."""
        now = asyncio.get_running_loop().time
        deadline = now() + within_s
        while lane.held() and not lane.idle.is_set():
            if now() >= deadline:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await lane.idle.wait()
        return True
