"""Which lanes this app-node holds: it divides them with the others, renews its leases, takes over and hands over.

`lanes.division` says which lanes are whose. A quarantine is held like a lane, under a number of its own. A lane is
acquired as soon as its former holder has released it, or that one's lease has run out. Entries that the former holder
had read and not committed are handled first. A lane that moves to another app-node is released when its handlers have
ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Protocol

import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.lanes.division import share_of
from app_node.lanes.lane import Lane
from sio_cluster.node.rest import rest
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import is_quarantine, lane_behind, quarantine_of
from sio_cluster.streams.api.lanes import Claimed
from sio_cluster.streams.api.leases import Leases

log = structlog.get_logger()

MARGIN = 0.1
"""This part of a lease is not used: with a lease of 5 s we stop acting 4.5 s after the renewal was sent."""


class Claiming(Protocol):
    """The part of `streams.api.lanes.LaneReader` that is needed here, for lanes and quarantines."""

    async def claim(self, lane: int) -> Claimed: ...

    async def interrupt(self) -> None: ...


class AppNodes(Protocol):
    """The part of `streams.api.registry.Registry` that is needed here."""

    async def app_nodes(self) -> dict[str, dict[str, str]]: ...


class LaneKeeper:
    """The lanes of one app-node.

    Calls `on_take(lane, claimed)` with a lane that was acquired, and the first page of what its former holder left.
    Calls `on_lost(lane)` when this app-node must not act for the lane any more. `quarantined()` are the lanes that it
    holds and whose quarantine holds something. `settled(lane)` returns when nothing of the lane is in work.
    """

    def __init__(
        self,
        *,
        node_id: str,
        lanes: int,
        lease_ms: int,
        handover_ms: int,
        leases: Leases,
        reader: Claiming,
        registry: AppNodes,
        clock: Clock,
        counters: Counters,
        on_take: Callable[[Lane, Claimed], Awaitable[None]],
        on_lost: Callable[[Lane], None],
        quarantined: Callable[[], Collection[int]],
        settled: Callable[[Lane], Awaitable[None]],
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
        self._quarantined = quarantined
        self._settled = settled
        self._handovers: dict[Lane, asyncio.Task[None]] = {}  # by lease: a lane may come back before its handover ends
        self._checked_at = clock()
        self._stood_still: set[int] = set()  # numbers of lanes that were lost since the event loop stood still
        self._draining = False
        self._planning = asyncio.Lock()
        self.held: dict[int, Lane] = {}  # by number, quarantines too
        self.readable: set[int] = set()  # numbers of those lanes that may be read
        self.workable: set[int] = set()  # numbers of those quarantines
        self.assigned: set[int] = set()  # lanes whose quarantine this app-node works off, or is about to
        self.changed = asyncio.Event()  # set when `readable` or `workable` changes, and when a lane was taken
        self.planned = asyncio.Event()  # set once the lanes were divided, and this app-node took part

    async def run_plan(self) -> None:
        """A loop for as long as the node lives: divides the lanes anew, four times in a lease, at least each 250 ms."""
        retry = Retry("lanes_plan", self._counters.redis_retries)
        await retry.forever(self.plan, pause_s=min(0.25, self._lease_ms / 4000))

    async def run_renew(self) -> None:
        """A loop for as long as the node lives: renews the leases, four times in a lease.

        While Redis is away it waits an eighth of a lease at most, so that a short outage costs no lane.
        """
        retry = Retry("leases_renew", self._counters.redis_retries, cap_ms=self._lease_ms / 8)
        await retry.forever(self.renew, pause_s=self._lease_ms / 4000)

    async def run_watch(self) -> None:
        """A loop for as long as the node lives: looks for leases that have run out, ten times in a lease.

        `run_renew` cannot do that, since a renewal may hang.
        """
        while True:
            self.check()
            await rest(self._lease_ms / 10_000)

    def holds(self, number: int) -> bool:
        """Whether this app-node may act for this lane now."""
        lane = self.held.get(number)
        return lane is not None and lane.held()

    @property
    def lanes_held(self) -> list[int]:
        """The numbers of the lanes that are held, without quarantines."""
        return sorted(number for number in self.held if not is_quarantine(number))

    @property
    def served(self) -> list[Lane]:
        """The lanes that may be read: former holders are barred, and the lanes are not about to move."""
        return [lane for number, lane in self.held.items() if number in self.readable and lane.held()]

    def check(self) -> None:
        """Gives up the lanes whose lease may have run out."""
        for lane in list(self.held.values()):
            if not lane.held():
                self.lose(lane)
        self._checked_at = self._clock()

    def lose(self, lane: Lane) -> None:
        """Stops acting for a lane: another app-node has it, or may have it."""
        if self.held.get(lane.number) is lane:
            del self.held[lane.number]
            self._set_readable(lane.number, readable=False)
            if self._clock() - self._checked_at > self._lease_ms / 4000:  # no renewal could be sent meanwhile
                self._stood_still.add(lane.number)
            self._counters.lanes_lost += 1
            log.warning("lane_lost", **_named(lane), token=lane.token)
        self._on_lost(lane)

    async def plan(self) -> None:
        """Looks who lives, hands over the lanes that go to others, acquires those that are ours. Raises BusError."""
        async with self._planning:
            await self._divide()

    async def _divide(self) -> None:
        nodes = await self._registry.app_nodes()
        share = share_of(self._node_id, nodes, self._lanes, quarantined=self._quarantined(), assigned=self.assigned)
        if self._draining or share is None:
            return
        self.assigned = set(share.quarantines)
        wanted = share.lanes | set(map(quarantine_of, share.quarantines))
        moving = [lane for lane in self.held.values() if lane.number not in wanted and lane not in self._handovers]
        if moving:
            log.info("lanes_moving", lanes=sorted(lane.number for lane in moving))
        for lane in moving:
            self._hand_over(lane)
        if share.lanes != set(self.lanes_held):  # what is in a quarantine may end us, so the lanes come first
            wanted = share.lanes
        taken = await self._take_over(sorted(wanted - self.held.keys()))
        if lanes := [number for number in taken if not is_quarantine(number)]:
            log.info("lanes_acquired", lanes=lanes)
            await self._interrupt()
        if quarantines := [lane_behind(number) for number in taken if is_quarantine(number)]:
            log.info("quarantines_acquired", lanes=quarantines)
        self.planned.set()

    async def renew(self) -> None:
        """Renews all leases in one round trip. Raises BusError."""
        lanes = dict(self.held)
        if not lanes:
            return
        sent_at = self._clock()
        ours = await self._leases.renew([lane.lease for lane in lanes.values()], self._lease_ms)
        for number, lane in lanes.items():
            if number in ours and lane.held():
                lane.deadline = self._deadline(sent_at)
            else:
                self.lose(lane)

    def finish(self, quarantine: Lane) -> None:
        """Gives back a quarantine that was found empty."""
        self.assigned.discard(lane_behind(quarantine.number))
        if quarantine not in self._handovers and self.held.get(quarantine.number) is quarantine:
            self._hand_over(quarantine)

    async def hand_over_all(self) -> None:
        """For a planned stop: releases each lane when its handlers have ended, after `handover_ms` at the latest."""
        self._draining = True
        self._hand_over_held()
        async with self._planning:  # a plan that was under way may have acquired more lanes
            self._hand_over_held()
        await asyncio.gather(*self._handovers.values(), self._interrupt())

    async def _acquire(self, number: int) -> Lane | None:
        sent_at = self._clock()
        stood_still = number in self._stood_still
        lease = await self._leases.acquire(number, self._node_id, self._lease_ms, stood_still=stood_still)
        self._stood_still.discard(number)
        if lease is None:
            return None
        lane = self.held[number] = Lane(lease, self._deadline(sent_at), self._clock)
        return lane

    async def _take_over(self, numbers: list[int]) -> list[int]:
        """Acquires those of these lanes that are free, bars their former holders, and takes what those left.

        Returns the numbers of the lanes that are ours now. Raises BusError: the next plan tries again with the rest.
        """
        acquired = await asyncio.gather(*map(self._acquire, numbers), return_exceptions=True)
        lanes = [lane for lane in acquired if isinstance(lane, Lane)]
        outcomes: list[bool | BaseException] = [False] * len(lanes)
        try:
            _raise_first(acquired)
            if lanes:
                await self._bar_former(lanes)
            outcomes = await asyncio.gather(*map(self._take, lanes), return_exceptions=True)
            _raise_first(outcomes)
        finally:
            for lane, ours in zip(lanes, outcomes, strict=True):
                if ours is not True:
                    self._let_go(lane)
        return [lane.number for lane, ours in zip(lanes, outcomes, strict=True) if ours]

    async def _bar_former(self, lanes: list[Lane]) -> None:
        barred = await self._leases.bar_former([lane.lease for lane in lanes])
        if barred:
            self._counters.holders_barred += len(barred)
            log.warning("former_holders_barred", nodes=sorted(barred))

    def _let_go(self, lane: Lane) -> None:
        """Gives up a lane that was acquired and could not be taken, unless its handover has begun."""
        if self.held.get(lane.number) is lane and lane not in self._handovers:
            del self.held[lane.number]
            self._on_lost(lane)

    async def _take(self, lane: Lane) -> bool:
        number = lane.number
        claimed = await self._reader.claim(number)
        if self.held.get(number) is not lane or not lane.held():
            return False
        log.debug("lane_acquired", **_named(lane), token=lane.token, redelivered=len(claimed.entries))
        await self._on_take(lane, claimed)
        self.changed.set()  # they wait for their turn, also where the lane is about to go
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
                    await self._settled(lane)
                settled = True
            except TimeoutError:
                settled = False
                log.warning("lane_handlers_late", **_named(lane), handlers=len(lane.tasks))
            if self.held.get(lane.number) is lane:
                del self.held[lane.number]
                self._on_lost(lane)
                await self._leases.release(lane.lease, settled=settled)
                log.debug("lane_released", **_named(lane), token=lane.token)
        except BusError as error:
            log.warning("lane_release_failed", **_named(lane), error=str(error))  # the lease will run out
        finally:
            del self._handovers[lane]

    def _set_readable(self, number: int, *, readable: bool) -> None:
        numbers = self.workable if is_quarantine(number) else self.readable
        (numbers.add if readable else numbers.discard)(number)
        self.changed.set()

    async def _interrupt(self) -> None:
        try:
            await self._reader.interrupt()
        except BusError as error:
            log.debug("interrupt_failed", error=str(error))  # then the read fails as well, or ends after `block_ms`

    def _deadline(self, sent_at: float) -> float:
        return sent_at + self._lease_ms * (1 - MARGIN) / 1000


def _named(lane: Lane) -> dict[str, Any]:
    """Which one it is, for the log: a quarantine is named by the lane that is behind it."""
    return {"lane": lane.behind, "quarantine": True} if is_quarantine(lane.number) else {"lane": lane.number}


def _raise_first(outcomes: Sequence[object]) -> None:
    """Raises the first error among the results of `gather(..., return_exceptions=True)`."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
