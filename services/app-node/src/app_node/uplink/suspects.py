"""What the holder of a lane does with facts that may end a process, and with their clients' other facts.

An entry that was taken over unfinished twice may be the reason why its holders died. So its facts are moved to the
lane's quarantine, each as an entry of its own, and another app-node handles them there one at a time (`uplink.alone`).

Order: while a client has something in quarantine, whatever else comes from it is held back here. When nothing of it is
left there, its facts go on, in order. They are not committed meanwhile, and count for MAX_INFLIGHT_BYTES. Nothing stays
in quarantine for ever, so neither do they. If the lane moves to another app-node, they follow into the quarantine.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Protocol

import structlog

from app_node.counters import QUARANTINED, Counters
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from app_node.uplink.consumer import Deliver
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.codec import decode_uplink, encode_uplink
from sio_cluster.protocol.errors import BusError, LeaseLost, MalformedBatch
from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.protocol.messages import Fact
from sio_cluster.streams.api.lanes import Claimed, LaneEntry, Unclaimed
from sio_cluster.streams.api.leases import Lease

log = structlog.get_logger()

SUSPECT_TAKEOVERS = 2
"""An entry that was taken over unfinished so often goes into quarantine."""

LOOK_S = 0.25
"""How often the quarantines of our lanes are looked at, while something is held back."""

SETTLE_S = 0.02
"""How often a lane that is about to move is looked at, while something of it is held back."""

Waiting = tuple[Fact, EntryProgress]


class Reader(Protocol):
    """The part of `streams.api.lanes.LaneReader` that is needed here."""

    async def claim_more(self, rest: Unclaimed) -> Claimed: ...

    async def peek(self, lane: int, count: int = ..., after: bytes = ...) -> list[LaneEntry]: ...

    async def quarantine(self, lease: Lease, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None: ...


class _HeldLane:
    """The quarantine of one lane as its holder knows it, and the facts that wait for it."""

    def __init__(self, lane: Lane, quarantined: Sequence[tuple[bytes, str]]) -> None:
        self.lane = lane
        self.entries = deque(quarantined)  # ids, and whose fact each is
        self.clients = Counter(sid for _, sid in self.entries)
        self.waiting: dict[str, list[Waiting]] = defaultdict(list)
        self.emptied = False  # nothing is left there, so what waits may go on
        self.following = False  # what waits is being moved into quarantine, so it must not go on here

    def left(self, first: LaneEntry | None) -> list[Waiting]:
        """Forgets what has left the quarantine, whose first entry is this now. Returns the facts that may go on."""
        free: list[Waiting] = []
        while self.entries and (first is None or self.entries[0][0] != first.id):
            _, sid = self.entries.popleft()
            self.clients[sid] -= 1
            if not self.clients[sid]:
                del self.clients[sid]
                free += self.waiting.pop(sid, [])
        return free

    def stuck(self) -> dict[EntryProgress, list[Fact]]:
        """By entry: the facts that wait, where all else of the entry has ended."""
        facts: dict[EntryProgress, list[Fact]] = defaultdict(list)
        for waiting in self.waiting.values():
            for fact, progress in waiting:
                facts[progress].append(fact)
        return {progress: of_entry for progress, of_entry in facts.items() if progress.pending == len(of_entry)}


class Suspects:
    """For the lanes that this app-node holds. Stands between the consumer and `handling`.

    `announce(lanes)` tells the other app-nodes which quarantines hold something. `may_begin()` waits while nothing may
    begin, since this app-node handles a suspect itself.
    """

    def __init__(
        self,
        reader: Reader,
        handling: Deliver,
        counters: Counters,
        *,
        announce: Callable[[Collection[int]], Awaitable[None]],
        may_begin: Callable[[], Awaitable[object]],
    ) -> None:
        self._reader = reader
        self._handling = handling
        self._counters = counters
        self._announce = announce
        self._may_begin = may_begin
        self._lanes: dict[int, _HeldLane] = {}

    @property
    def quarantined(self) -> Collection[int]:
        """The lanes whose quarantine holds something, as far as is known."""
        return [number for number, held in self._lanes.items() if not held.emptied]

    async def run(self) -> None:
        """A loop for as long as the node lives. Retried while Redis is away."""
        retry = Retry("quarantines_look", self._counters.redis_retries)
        await retry.forever(self.look, pause_s=LOOK_S)

    async def look(self) -> None:
        """Lets those facts go on whose client has nothing in quarantine any more. Raises BusError."""
        for number, held in list(self._lanes.items()):
            first = [] if held.emptied else await self._reader.peek(quarantine_of(number), 1)
            await self._may_begin()
            if self._lanes.get(number) is not held or held.following:
                continue
            free = held.left(first[0] if first else None)
            if not held.entries:
                del self._lanes[number]
            for fact, progress in free:
                self._handling.deliver(fact, progress)
        await self._announce(self.quarantined)

    def emptied(self, number: int) -> None:
        """Nothing is left in the quarantine of this lane: this app-node has worked it off itself."""
        if number in self._lanes:
            self._lanes[number].emptied = True

    async def take(self, lane: Lane, claimed: Claimed) -> Claimed:
        """Moves all suspects that a former holder left, of this page and those after it. They are the first.

        Returns the page at which they end, without them. Raises BusError.
        """
        malformed: list[LaneEntry] = []
        try:
            while True:
                suspects = [entry for entry in claimed.entries if entry.takeovers >= SUSPECT_TAKEOVERS]
                malformed += await self._move_suspects(lane, suspects)
                if len(suspects) < len(claimed.entries) or claimed.rest is None:
                    break
                claimed = await self._reader.claim_more(claimed.rest)
            quarantined = await self._look_into(quarantine_of(lane.number))
        except LeaseLost:
            lane.lost = True
        if not lane.held():  # then it was dropped meanwhile, or soon is
            return Claimed([])
        if quarantined:
            self._lanes[lane.number] = _HeldLane(lane, quarantined)
        return Claimed([*malformed, *claimed.entries[len(suspects) :]], claimed.rest)

    def deliver(self, fact: Fact, progress: EntryProgress) -> None:
        """Hands a fact on, or holds it back. `progress` counts it already. Never waits."""
        held = self._lanes.get(progress.lane.number)
        if held is not None and fact.sid in held.clients:
            held.waiting[fact.sid].append((fact, progress))
        else:
            self._handling.deliver(fact, progress)

    async def settled(self, lane: Lane) -> None:
        """Returns when nothing of this lane is in work, which is about to move. What is held back goes into quarantine.

        Nothing more of the lane is read meanwhile.
        """
        while not lane.idle.is_set():
            held = self._lanes.get(lane.number)
            if held is None or held.lane is not lane:
                await lane.idle.wait()
                return
            stuck = held.stuck()
            if stuck and {progress.entry_id for progress in stuck} == lane.in_work:
                await self._follow(held, stuck)
            else:
                await asyncio.sleep(SETTLE_S)

    def drop_lane(self, lane: Lane) -> None:
        """Forgets what is held back of this lane: another app-node goes on with it."""
        held = self._lanes.get(lane.number)
        if held is not None and held.lane is lane:
            del self._lanes[lane.number]

    async def _follow(self, held: _HeldLane, stuck: dict[EntryProgress, list[Fact]]) -> None:
        """Moves facts that are held back into quarantine, behind those for which they wait."""
        held.following = True
        waiting, held.waiting = held.waiting, defaultdict(list)
        in_order = sorted(stuck.items(), key=lambda item: _place(item[0].entry_id))
        moves = [(progress.entry_id, [_alone(fact) for fact in facts]) for progress, facts in in_order]
        try:
            await self._move(held.lane, moves)
        except LeaseLost:
            held.lane.lost = True
            return
        except BusError as error:
            log.debug("quarantine_failed", lane=held.lane.number, error=str(error))  # `settled` tries again
            for sid, later in held.waiting.items():
                waiting[sid] += later
            held.waiting = waiting
            await asyncio.sleep(SETTLE_S)
            return
        for progress, facts in stuck.items():
            for fact in facts:
                progress.end_fact(fact, QUARANTINED)

    async def _move_suspects(self, lane: Lane, entries: Sequence[LaneEntry]) -> list[LaneEntry]:
        """Returns those that cannot be decoded: they are no suspects."""
        parts = [(entry, _parts(entry)) for entry in entries]
        if moves := [(entry.id, of_entry) for entry, of_entry in parts if of_entry]:
            await self._move(lane, moves)
        return [entry for entry, of_entry in parts if not of_entry]

    async def _look_into(self, quarantine: int) -> list[tuple[bytes, str]]:
        """The ids of all entries there, and whose fact each is."""
        found: list[tuple[bytes, str]] = []
        while page := await self._reader.peek(quarantine, after=found[-1][0] if found else b""):
            found += [(entry.id, _sid_of(entry)) for entry in page]
        return found

    async def _move(self, lane: Lane, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        await self._reader.quarantine(lane.lease, moves)
        facts = sum(len(parts) for _, parts in moves)
        self._counters.facts_quarantined += facts
        log.warning("facts_quarantined", lane=lane.number, entries=len(moves), facts=facts)


def _parts(entry: LaneEntry) -> list[bytes]:
    """One entry for each of its facts that is not done. [] where there is none, or where it cannot be decoded."""
    try:
        batch = decode_uplink(entry.entry)
    except MalformedBatch:
        return []
    left = [fact for place, fact in enumerate(batch.facts) if place not in entry.done]
    return [encode_uplink(batch.node, batch.seq, [fact]) for fact in left]


def _sid_of(entry: LaneEntry) -> str:
    """Whose fact is in this entry of a quarantine."""
    try:
        return decode_uplink(entry.entry).facts[0].sid
    except (MalformedBatch, IndexError):  # nothing of ours; `Consumer` sets it aside
        return ""


def _alone(fact: Fact) -> bytes:
    """An entry for one fact that says nothing of who wrote it."""
    return encode_uplink("", 0, [fact])


def _place(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
