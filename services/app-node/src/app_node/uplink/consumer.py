"""Lane entries to the dispatcher, and their commit when everything that they caused is done.

Bounded: no more is read while `max_inflight_bytes` are in work. An entry whose outcome is not whole (a handler was
cancelled, a lease ran out) is not committed: the lane's next holder gets it again.
"""

import asyncio
from collections.abc import Collection, Sequence
from typing import Protocol

import structlog

from app_node.counters import ABANDONED, Counters
from app_node.downlink.routes import Routes
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.lanes.progress import Scope
from app_node.uplink.dispatcher import Dispatcher
from app_node.uplink.turns import Turns
from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.codec import decode_uplink
from sio_cluster.protocol.errors import BusRefused, BusUnavailable, LeaseLost, MalformedBatch
from sio_cluster.streams.redis.lanes import LaneEntry

log = structlog.get_logger()

BLOCK_MS = 1_000
COUNT = 32  # entries of one lane and read
FACT_BYTES = 1_000  # what a fact in work weighs besides its payload: its objects, and its handler's task
TURN_FACTS = 256  # then handlers and timers have their turn
READ_AGAIN_S = 0.01  # while something waits to be taken: at least as long after a read, and as long as that has lasted


class Reading(Protocol):
    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]: ...

    async def commit(self, lane: int, token: int, ids: Sequence[bytes]) -> None: ...

    async def set_aside(self, lane: int, token: int, entry: LaneEntry, why: str) -> int: ...


class Consumer:
    """Reads the lanes that the keeper holds."""

    def __init__(
        self, reader: Reading, dispatcher: Dispatcher, routes: Routes, max_inflight_bytes: int, counters: Counters
    ) -> None:
        self._reader = reader
        self._dispatcher = dispatcher
        self._routes = routes
        self._max_inflight_bytes = max_inflight_bytes
        self._counters = counters
        self.inflight_bytes = 0
        self.facts_in_work = 0
        self._room = asyncio.Event()
        self._to_commit: set[Lane] = set()
        self._commit_wake = asyncio.Event()
        self._aside: set[asyncio.Task[None]] = set()

    async def run_read(self, keeper: LaneKeeper) -> None:
        """Reads for ever; waits out Redis' absence. A long lane keeps no other from being read; nor do these reads,
        each a round trip, keep it from being worked off."""
        now = asyncio.get_running_loop().time
        backoff = Backoff()
        turns = Turns()
        while True:
            if not keeper.readable and not turns:
                keeper.changed.clear()
                await keeper.changed.wait()
                continue
            await self._wait_for_room()
            asked = {number: keeper.held[number] for number in sorted(keeper.readable) if number not in turns}
            block_ms = 0 if turns else BLOCK_MS
            begun = now()
            try:
                entries = await self._reader.read(asked.keys(), block_ms, COUNT) if asked else []
            except (BusUnavailable, BusRefused) as error:
                wait = next(backoff)
                log.warning("lanes_read_retry", error=str(error), wait_ms=round(wait * 1000))
                until = now() + wait
                await self._take_turns(turns, keeper, until)
                await asyncio.sleep(max(0.0, until - now()))
                continue
            backoff.reset()
            for entry in entries:
                lane = asked[entry.lane]
                # One that was lost meanwhile and acquired again begins with what is claimed: see LaneReader.claim.
                if keeper.held.get(entry.lane) is lane:
                    turns.put(lane, entry)
            lasted = 0.0 if block_ms else now() - begun
            await self._take_turns(turns, keeper, now() + max(READ_AGAIN_S, lasted))

    async def _take_turns(self, turns: Turns, keeper: LaneKeeper, until: float) -> None:
        """At least one turn, and others while something waits and `until`, by the event loop's clock, is to come."""
        await self._take_turn(turns, keeper)
        while turns and asyncio.get_running_loop().time() < until:
            await self._take_turn(turns, keeper)

    async def _take_turn(self, turns: Turns, keeper: LaneKeeper) -> None:
        """Takes entries of TURN_FACTS facts, at least one entry; then other work of the event loop comes."""
        taken = 0
        while turns:
            await self._wait_for_room()
            lane, entry = turns.next()
            if keeper.held.get(entry.lane) is lane:  # else its next holder is given it
                taken += self.take(lane, entry)
            lane.arrived()
            if taken >= TURN_FACTS:
                await asyncio.sleep(0)
                return

    async def run_commit(self, keeper: LaneKeeper) -> None:
        """Commits what is done, all lanes in one round trip; waits out Redis' absence."""
        backoff = Backoff()
        while True:
            await self._commit_wake.wait()
            self._commit_wake.clear()
            lanes, self._to_commit = self._to_commit, set()
            outcomes = await asyncio.gather(*[self._commit(lane, keeper) for lane in lanes])
            if all(outcomes):
                backoff.reset()
            else:
                await asyncio.sleep(next(backoff))

    async def take_claimed(self, lane: Lane, entries: Sequence[LaneEntry]) -> None:
        """Entries that a former holder was given, before anything new of this lane is read."""
        taken = 0
        for entry in entries:
            taken += self.take(lane, entry)
            if taken >= TURN_FACTS:
                taken = 0
                await asyncio.sleep(0)

    def take(self, lane: Lane, entry: LaneEntry) -> int:
        """Hands an entry's facts to the dispatcher. How many they were."""
        if not lane.held() or entry.id in lane.in_work:
            return 0
        size = len(entry.entry)
        unfinished = lane.opened(entry.id, size)
        self.inflight_bytes += size
        try:
            batch = decode_uplink(entry.entry)
        except MalformedBatch as error:
            self._set_aside(lane, entry, str(error))
            return 0
        number = len(batch.facts)
        self._counters.add("facts_read_again" if entry.redelivered else "facts_read", number)
        self.facts_in_work += number
        unfinished.facts = number
        if batch.facts and batch.facts[0].sid.startswith(f"{batch.node}."):  # not from the reaper
            self._routes.saw(batch.node)
        unfinished.size += FACT_BYTES * number
        self.inflight_bytes += unfinished.size - size
        unfinished.share = unfinished.size // max(1, number)
        scope = Scope(lane, entry.id, entry.redelivered, self._done, self._fact_done)
        scope.begin(number)
        for fact in batch.facts:
            self._dispatcher.deliver(fact, scope)
        scope.end()
        return number

    def drop_lane(self, lane: Lane) -> None:
        """Nothing of this lane will end here."""
        for entry_id in list(lane.unfinished):
            self._release(lane, entry_id)

    def _fact_done(self, scope: Scope, outcome: str) -> None:
        """Counts it. A slow handler holds its own part of `max_inflight_bytes`, not that of all who share its entry."""
        unfinished = scope.lane.unfinished.get(scope.id)
        if unfinished is not None:  # else its lane was dropped, and it counts as abandoned
            self._counters.add(ABANDONED if scope.lane.lost else outcome)
            self.facts_in_work -= 1
            unfinished.facts -= 1
            unfinished.size -= unfinished.share
            self.inflight_bytes -= unfinished.share
            self._room.set()

    def _done(self, scope: Scope) -> None:
        lane = scope.lane
        self._release(lane, scope.id)
        if lane.held():
            lane.to_commit.append(scope.id)
            self._to_commit.add(lane)
            self._commit_wake.set()

    def _release(self, lane: Lane, entry_id: bytes) -> None:
        unfinished = lane.unfinished.pop(entry_id, None)
        if unfinished is not None:
            if unfinished.facts:
                self._counters.add(ABANDONED, unfinished.facts)
                self.facts_in_work -= unfinished.facts
            self.inflight_bytes -= unfinished.size
            self._room.set()

    async def _wait_for_room(self) -> None:
        while self.inflight_bytes >= self._max_inflight_bytes:
            self._counters.add("waits_for_handlers")
            self._room.clear()
            await self._room.wait()

    async def _commit(self, lane: Lane, keeper: LaneKeeper) -> bool:
        """False where it must be tried again."""
        if not lane.held():
            return True
        ids, lane.to_commit = lane.to_commit, []
        try:
            await self._reader.commit(lane.number, lane.token, ids)
        except LeaseLost:
            keeper.lose(lane)
            return True
        except (BusUnavailable, BusRefused) as error:
            log.warning("commit_retry", lane=lane.number, error=str(error))
            lane.to_commit += ids
            self._to_commit.add(lane)
            self._commit_wake.set()
            return False
        self._counters.add("entries_committed", len(ids))
        lane.committed(ids)
        return True

    def _set_aside(self, lane: Lane, entry: LaneEntry, why: str) -> None:
        self._counters.add("entries_malformed")
        log.error("entry_malformed", lane=lane.number, id=entry.id.decode(), why=why)
        task = asyncio.create_task(self._put_aside(lane, entry, why))
        self._aside.add(task)
        task.add_done_callback(self._aside.discard)

    async def _put_aside(self, lane: Lane, entry: LaneEntry, why: str) -> None:
        backoff = Backoff()
        while lane.held():
            try:
                gone = await self._reader.set_aside(lane.number, lane.token, entry, why)
            except LeaseLost:
                lane.lost = True
            except (BusUnavailable, BusRefused):
                await asyncio.sleep(next(backoff))
            else:
                self._counters.add("dead_letters")
                if gone:
                    self._counters.add("dead_letters_lost", gone)
                    log.error("dead_letters_lost", lane=lane.number, number=gone)
                self._release(lane, entry.id)
                lane.committed([entry.id])
                return
