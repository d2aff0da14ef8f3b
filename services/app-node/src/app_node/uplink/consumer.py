"""Reads lane entries, hands their facts to the dispatcher, and lets each entry go when all that it caused is done.

Bounded: nothing more is read while entries of `max_inflight_bytes` are in work. An entry that was not handled to its
end (a handler was cancelled, a lease ran out) is not committed: the lane's next holder gets it again.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import structlog

from app_node.counters import LANE_LOST, Counters, Outcome
from app_node.downlink.routes import Routes
from app_node.lanes.commits import Commits
from app_node.lanes.keeper import LaneKeeper
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from app_node.uplink.dead_letters import DeadLetters
from app_node.uplink.pages import Pages
from app_node.uplink.portion import Portion
from app_node.uplink.round_robin import RoundRobin
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.codec import decode_uplink
from sio_cluster.protocol.errors import BusError, MalformedBatch
from sio_cluster.protocol.messages import ClientConnected, ClientDisconnected, EventReceived, Fact
from sio_cluster.streams.api.lanes import Claimed, LaneEntry, LaneReader

log = structlog.get_logger()

BLOCK_MS = 1_000
"""How long one read waits for entries, while there is nothing else to do."""

FACT_BYTES = 1_000
"""What a fact in work weighs besides its payload: its objects, and the task of its handler."""

TURN_FACTS = 256
"""After so many facts, handlers and timers have their turn."""

MOST_TAKEOVERS = 3
"""An entry that was taken over unfinished so often is not handled any more."""

GIVEN_UP = f"begun {MOST_TAKEOVERS} times and never finished: its handler ends its process, blocks it, or does not end"
"""Why such an entry is a dead letter."""

WITH_HANDLER = (ClientConnected, EventReceived, ClientDisconnected)
"""Facts that run a handler. Others cannot hurt."""

READ_AGAIN_S = 0.01
"""While entries wait for their turn, the next read comes after this time, or after as long as the last read took."""


class Deliver(Protocol):
    """Takes over one fact, which `progress` counts already. Never waits."""

    def deliver(self, fact: Fact, progress: EntryProgress) -> None: ...


class Consumer:
    """Reads the lanes that the keeper holds, and hands their facts to `handling`.

    An entry that was taken over unfinished three times goes to `condemned` instead, and then to the dead letters.
    `facts_in_work` and `inflight_bytes` are for `/metrics`.
    """

    def __init__(
        self,
        reader: LaneReader,
        routes: Routes,
        max_inflight_bytes: int,
        counters: Counters,
        *,
        handling: Deliver,
        condemned: Deliver,
        letters: DeadLetters,
        commits: Commits,
        redis_clock: RedisClock,
    ) -> None:
        self._reader = reader
        self._redis_clock = redis_clock
        self._handling = handling
        self._condemned = condemned
        self._letters = letters
        self._commits = commits
        self._routes = routes
        self._max_inflight_bytes = max_inflight_bytes
        self._counters = counters
        self.inflight_bytes = 0
        self.facts_in_work = 0
        self._room = asyncio.Event()
        self._turns = RoundRobin()
        self._pages = Pages(reader)
        self._portion = Portion(max_inflight_bytes)
        self._read_retry = Retry("lanes_read", counters.redis_retries)
        self.resumed = asyncio.Event()  # not set while it is `paused`
        self.resumed.set()

    @property
    def reading_is_stuck(self) -> bool:
        """Whether Redis has refused to let us read the lanes for some seconds, whatever else it does."""
        return self._read_retry.stuck

    async def run_read(self, keeper: LaneKeeper) -> None:
        """A loop for as long as the node lives: reads the lanes, and takes what came. Retried while Redis is away.

        While a lane with a long backlog is worked on, the others are still read. Each of these reads is a round trip,
        so work on the backlog goes on between them.
        """
        now = asyncio.get_running_loop().time
        retry = self._read_retry
        turns = self._turns
        while True:
            if not keeper.readable and not turns:
                keeper.changed.clear()
                await keeper.changed.wait()
                continue
            await self._wait_for_room()
            waiting = [keeper.held[number] for number in sorted(keeper.readable) if number not in turns]
            claiming = [lane for lane in waiting if lane in self._pages]
            asked = {lane.number: lane for lane in waiting if lane not in self._pages}
            begun = now()
            try:
                if claiming:
                    await self._claim_more(claiming)
                block_ms = 0 if turns else BLOCK_MS
                entries = await self._read(asked, block_ms)
            except BusError as error:
                until = now() + retry.failed(error)
                await self._take_turns(turns, keeper, until)
                await asyncio.sleep(max(0.0, until - now()))
                continue
            if waiting:
                retry.succeeded()
            for entry in entries:
                lane = asked[entry.lane]
                # A lane that was lost and acquired again meanwhile must begin with what `LaneReader.claim` brings.
                if keeper.held.get(entry.lane) is lane:
                    turns.put(lane, entry)
            lasted = 0.0 if block_ms else now() - begun
            await self._take_turns(turns, keeper, now() + max(READ_AGAIN_S, lasted))

    async def _read(self, lanes: Mapping[int, Lane], block_ms: int) -> list[LaneEntry]:
        """New entries of these lanes, as many as may be in work. Raises BusError."""
        if not lanes:
            return []
        try:
            entries = await self._reader.read(lanes.keys(), block_ms, self._portion.entries(len(lanes)))
        except BusError:
            self._portion.begin_small()
            raise
        self._portion.came(entries)
        return entries

    async def _claim_more(self, lanes: list[Lane]) -> None:
        """The next page of each of these lanes, all at once. Raises BusError; some may have got theirs."""
        pages = await asyncio.gather(*map(self._pages.next, lanes), return_exceptions=True)
        for lane, page in zip(lanes, pages, strict=True):
            for entry in [] if isinstance(page, BaseException) else page:
                self._turns.put(lane, entry)
        if failures := [page for page in pages if isinstance(page, BaseException)]:
            raise failures[0]

    async def _take_turns(self, turns: RoundRobin, keeper: LaneKeeper, until: float) -> None:
        """One turn, and more of them while something waits and `until` (by the event loop's clock) has not come."""
        await self._take_turn(turns, keeper)
        while turns and asyncio.get_running_loop().time() < until:
            await self._take_turn(turns, keeper)

    async def _take_turn(self, turns: RoundRobin, keeper: LaneKeeper) -> None:
        """Takes entries until they had TURN_FACTS facts in all. Then gives way to the event loop's other work."""
        taken = 0
        while turns:
            await self._wait_for_room()
            lane, entry = turns.next()
            if keeper.held.get(entry.lane) is lane:  # else the lane's next holder gets it
                taken += self.take(lane, entry)
            lane.arrived()
            if taken >= TURN_FACTS:
                await asyncio.sleep(0)
                return

    def take_claimed(self, lane: Lane, claimed: Claimed) -> None:
        """What a former holder left gets its turns before anything new of this lane is read. It waits for room too."""
        self._pages.begin(lane, claimed)
        self._portion.begin_small()
        for entry in claimed.entries:
            self._turns.put(lane, entry)

    def take(self, lane: Lane, entry: LaneEntry) -> int:
        """Hands an entry's facts to the dispatcher. Returns how many they were."""
        if not lane.held() or entry.id in lane.in_work:
            return 0
        size = len(entry.entry)
        unfinished = lane.opened(entry.id, size)
        self.inflight_bytes += size
        try:
            batch = decode_uplink(entry.entry)
        except MalformedBatch as error:
            self._counters.entries_malformed += 1
            log.error("entry_malformed", lane=lane.behind, id=entry.id.decode(), why=str(error))
            self._set_aside(lane, entry, str(error))
            return 0
        places = [place for place in range(len(batch.facts)) if place not in entry.done]
        facts = [batch.facts[place] for place in places] if entry.done else batch.facts
        number = len(facts)
        self._counters.facts_done_before += len(entry.done)
        if entry.redelivered:
            self._counters.facts_read_again += number
        else:
            self._counters.facts_read += number
            waited = self._redis_clock.age_of(entry.id)
            if waited is not None:
                self._counters.durations.lane_wait.observe(waited)
        self.facts_in_work += number
        unfinished.facts = number
        own = f"{batch.node}."  # other sids: the reaper wrote it, or the io-node has clients of another home
        if any(fact.sid.startswith(own) for fact in batch.facts):
            self._routes.saw(batch.node)
        unfinished.size += FACT_BYTES * number
        self.inflight_bytes += unfinished.size - size
        unfinished.share = unfinished.size // max(1, number)
        is_condemned = entry.takeovers >= MOST_TAKEOVERS and any(isinstance(fact, WITH_HANDLER) for fact in facts)
        done = partial(self._given_up, entry) if is_condemned else self._done
        progress = EntryProgress(
            lane, entry.id, entry.redelivered, done, self._fact_done, commits=not is_condemned, size=size
        )
        progress.noted = bool(entry.done)
        progress.begin_facts(facts, places)
        deliver = (self._condemned if is_condemned else self._handling).deliver
        for fact in facts:
            deliver(fact, progress)
        progress.end()
        return number

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Takes nothing of any lane meanwhile, except for what is given to `take`."""
        self.resumed.clear()
        try:
            yield
        finally:
            self.resumed.set()
            self._room.set()

    def drop_lane(self, lane: Lane) -> None:
        """Forgets the lane's entries in work, and what is left to claim. Their facts count as abandoned."""
        self._pages.drop_lane(lane)
        for entry_id in list(lane.unfinished):
            self._release(lane, entry_id)

    def _fact_done(self, progress: EntryProgress, outcome: Outcome) -> None:
        """Counts a fact, and gives its bytes back: a slow handler must not hold those of its entry's other facts."""
        unfinished = progress.lane.unfinished.get(progress.entry_id)
        if unfinished is not None:  # else the lane was dropped, and the fact was counted as abandoned
            self._counters.outcomes[LANE_LOST if progress.lane.lost else outcome] += 1
            self.facts_in_work -= 1
            unfinished.facts -= 1
            unfinished.size -= unfinished.share
            self.inflight_bytes -= unfinished.share
            self._room.set()

    def _done(self, progress: EntryProgress) -> None:
        self._release(progress.lane, progress.entry_id)
        self._commits.put(progress)

    def _given_up(self, entry: LaneEntry, progress: EntryProgress) -> None:
        if progress.lane.held():
            self._set_aside(progress.lane, entry, GIVEN_UP)

    def _release(self, lane: Lane, entry_id: bytes) -> None:
        unfinished = lane.unfinished.pop(entry_id, None)
        if unfinished is not None:
            if unfinished.facts:
                self._counters.outcomes[LANE_LOST] += unfinished.facts
                self.facts_in_work -= unfinished.facts
            self.inflight_bytes -= unfinished.size
            self._room.set()

    async def _wait_for_room(self) -> None:
        while not self.resumed.is_set() or self.inflight_bytes >= self._max_inflight_bytes:
            self._counters.waits_for_handlers += self.resumed.is_set()
            self._portion.begin_small()
            self._room.clear()
            await self._room.wait()

    def _set_aside(self, lane: Lane, entry: LaneEntry, why: str) -> None:
        def done() -> None:
            self._release(lane, entry.id)
            lane.committed([entry.id])

        self._letters.put(lane, entry, why, done)
