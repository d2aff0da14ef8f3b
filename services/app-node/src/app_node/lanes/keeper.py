"""Which lanes this app-node holds: dividing them with the others, renewing leases, taking over and handing over.

Live app-nodes divide the lanes by rendezvous hashing (`protocol.ids.lane_owner`); one that drains is left out. A lane
is acquired as soon as its former holder has released it, or its lease has run out; then what that one was given and did
not commit comes first. A lane that goes to another node is released when its handlers have ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from app_node.counters import Counters
from app_node.lanes.lane import Clock, Lane
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.ids import lane_owner
from sio_cluster.streams.redis.lanes import LaneEntry
from sio_cluster.streams.redis.records import Under

log = structlog.get_logger()

DRAINING = {"state": "draining"}
"""The info of an app-node that gives its lanes away."""

MARGIN = 0.1  # of a lease: how much earlier than Redis we count it as run out


class Leasing(Protocol):
    async def acquire(self, lane: int, holder: str, lease_ms: int) -> int | None: ...

    async def renew(self, tokens: Mapping[int, int], holder: str, lease_ms: int) -> set[int]: ...

    async def bar_former(self, tokens: Mapping[int, int], holder: str) -> set[str]: ...

    async def release(self, lane: int, holder: str, token: int, *, settled: bool) -> None: ...


class Claiming(Protocol):
    async def claim(self, lane: int) -> list[LaneEntry]: ...

    async def interrupt(self) -> None: ...


class AppNodes(Protocol):
    async def app_nodes(self) -> dict[str, dict[str, str]]: ...


class LaneKeeper:
    """The lanes of one app-node. `on_take` gets a lane with its redelivered entries, `on_lost` one to leave alone."""

    def __init__(
        self,
        *,
        node_id: str,
        lanes: int,
        lease_ms: int,
        handover_ms: int,
        leases: Leasing,
        reader: Claiming,
        registry: AppNodes,
        clock: Clock,
        counters: Counters,
        on_take: Callable[[Lane, Sequence[LaneEntry]], Awaitable[None]],
        on_lost: Callable[[Lane], None],
    ) -> None:
        self._node_id = node_id
        self._lanes = lanes
        self._lease_ms = lease_ms
        self._handover_ms = handover_ms
        self._leases = leases
        self._reader = reader
        self._registry = registry
        self._clock = clock
        self._counters = counters
        self._on_take = on_take
        self._on_lost = on_lost
        self._handovers: dict[Lane, asyncio.Task[None]] = {}  # a lane may be acquired anew while its last life ends
        self._draining = False
        self._planning = asyncio.Lock()
        self.held: dict[int, Lane] = {}
        self.readable: set[int] = set()
        self.changed = asyncio.Event()  # set when `readable` changes
        self.planned = asyncio.Event()  # set once the lanes have been divided with us among the nodes

    async def run_plan(self) -> None:
        """Divides the lanes anew, about four times in a lease."""
        backoff = Backoff()
        while True:
            try:
                await self.plan()
            except (BusUnavailable, BusRefused) as error:
                log.warning("lanes_plan_retry", error=str(error))
                await asyncio.sleep(next(backoff))
            else:
                backoff.reset()
                await asyncio.sleep(min(0.25, self._lease_ms / 4000))

    async def run_renew(self) -> None:
        """Renews the leases four times in a lease; tries again at once while Redis is away."""
        backoff = Backoff(cap_ms=self._lease_ms / 8)
        while True:
            try:
                await self.renew()
            except (BusUnavailable, BusRefused) as error:
                log.warning("leases_renew_retry", error=str(error), lanes=len(self.held))
                await asyncio.sleep(next(backoff))
            else:
                backoff.reset()
                await asyncio.sleep(self._lease_ms / 4000)

    async def run_watch(self) -> None:
        """Notices leases that ran out while a renewal hangs."""
        while True:
            self.check()
            await asyncio.sleep(self._lease_ms / 10_000)

    def check(self) -> None:
        """Drops the lanes whose lease may have run out."""
        for lane in list(self.held.values()):
            if not lane.held():
                self.lose(lane)

    def lose(self, lane: Lane) -> None:
        """The lane is another's, or may be."""
        if self.held.get(lane.number) is lane:
            del self.held[lane.number]
            self._set_readable(lane.number, readable=False)
            self._counters.add("lanes_lost")
            log.warning("lane_lost", lane=lane.number, token=lane.token)
        self._on_lost(lane)

    async def plan(self) -> None:
        """One look at who lives, and what follows from it."""
        async with self._planning:
            await self._divide()

    async def _divide(self) -> None:
        nodes = [node for node, info in (await self._registry.app_nodes()).items() if info != DRAINING]
        if self._draining or self._node_id not in nodes:
            return
        wanted = {lane for lane in range(self._lanes) if lane_owner(lane, nodes) == self._node_id}
        moving = [lane for lane in self.held.values() if lane.number not in wanted and lane not in self._handovers]
        if moving:
            log.info("lanes_moving", lanes=sorted(lane.number for lane in moving))
        for lane in moving:
            log.debug("lane_moving", lane=lane.number, to=lane_owner(lane.number, nodes))
            self._hand_over(lane)
        missing = sorted(wanted - self.held.keys())
        taken = await self._take_over(missing)
        if taken:
            log.info("lanes_acquired", lanes=taken)
            await self._interrupt()
        self.planned.set()

    async def renew(self) -> None:
        """One round trip for all leases."""
        lanes = dict(self.held)
        if not lanes:
            return
        sent_at = self._clock()
        ours = await self._leases.renew(
            {number: lane.token for number, lane in lanes.items()}, self._node_id, self._lease_ms
        )
        for number, lane in lanes.items():
            if number in ours and lane.held():
                lane.deadline = self._deadline(sent_at)
            else:
                self.lose(lane)

    async def hand_over_all(self) -> None:
        """A planned stop: every lane is released when its handlers have ended, after `handover_ms` at the latest."""
        self._draining = True
        self._hand_over_held()
        async with self._planning:  # a plan that was under way may have acquired more
            self._hand_over_held()
        await asyncio.gather(*self._handovers.values(), self._interrupt())

    async def _acquire(self, number: int) -> Lane | None:
        sent_at = self._clock()
        token = await self._leases.acquire(number, self._node_id, self._lease_ms)
        if token is None:
            return None
        lane = self.held[number] = Lane(Under(number, self._node_id, token), self._deadline(sent_at), self._clock)
        return lane

    async def _take_over(self, numbers: list[int]) -> list[int]:
        """Acquires what is free of these lanes, bars their former holders, and begins with what those left.

        Which of them are ours now. Raises BusError: the next plan acquires anew what was not taken.
        """
        acquired = await asyncio.gather(*map(self._acquire, numbers), return_exceptions=True)
        lanes = [lane for lane in acquired if isinstance(lane, Lane)]
        outcomes: list[bool | BaseException] = [False] * len(lanes)
        try:
            raise_first(acquired)
            if lanes:
                await self._bar_former(lanes)
            outcomes = await asyncio.gather(*map(self._take, lanes), return_exceptions=True)
            raise_first(outcomes)
        finally:
            for lane, ours in zip(lanes, outcomes, strict=True):
                if ours is not True:
                    self._let_go(lane)
        return [lane.number for lane, ours in zip(lanes, outcomes, strict=True) if ours]

    async def _bar_former(self, lanes: list[Lane]) -> None:
        barred = await self._leases.bar_former({lane.number: lane.token for lane in lanes}, self._node_id)
        if barred:
            self._counters.add("holders_barred", len(barred))
            log.warning("former_holders_barred", holders=sorted(barred))

    def _let_go(self, lane: Lane) -> None:
        """A lane that was acquired and not taken. One that is being handed over is left to that."""
        if self.held.get(lane.number) is lane and lane not in self._handovers:
            del self.held[lane.number]
            self._on_lost(lane)

    async def _take(self, lane: Lane) -> bool:
        number = lane.number
        entries = await self._reader.claim(number)
        if self.held.get(number) is not lane or not lane.held():
            return False
        log.debug("lane_acquired", lane=number, token=lane.token, redelivered=len(entries))
        await self._on_take(lane, entries)
        if not lane.held() or lane in self._handovers:
            return False
        self._set_readable(number, readable=True)
        return True

    def _hand_over_held(self) -> None:
        for lane in list(self.held.values()):
            if lane not in self._handovers:
                self._hand_over(lane)

    def _hand_over(self, lane: Lane) -> None:
        self._set_readable(lane.number, readable=False)
        self._handovers[lane] = asyncio.create_task(self._release(lane))

    async def _release(self, lane: Lane) -> None:
        try:
            await self._interrupt()
            try:
                async with asyncio.timeout(self._handover_ms / 1000):
                    await lane.idle.wait()
                settled = True
            except TimeoutError:
                settled = False
                log.warning("lane_handlers_late", lane=lane.number, handlers=len(lane.tasks))
            if self.held.get(lane.number) is lane:
                del self.held[lane.number]
                self._on_lost(lane)
                await self._leases.release(lane.number, self._node_id, lane.token, settled=settled)
                log.debug("lane_released", lane=lane.number, token=lane.token)
        except (BusUnavailable, BusRefused) as error:
            log.warning("lane_release_failed", lane=lane.number, error=str(error))  # its lease runs out
        finally:
            del self._handovers[lane]

    def _set_readable(self, number: int, *, readable: bool) -> None:
        (self.readable.add if readable else self.readable.discard)(number)
        self.changed.set()

    async def _interrupt(self) -> None:
        try:
            await self._reader.interrupt()
        except (BusUnavailable, BusRefused) as error:
            log.debug("interrupt_failed", error=str(error))  # the read fails, too, or ends after its block time

    def _deadline(self, sent_at: float) -> float:
        return sent_at + self._lease_ms * (1 - MARGIN) / 1000


def raise_first(outcomes: Sequence[object]) -> None:
    """Raises the first error among what `gather` brought."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
