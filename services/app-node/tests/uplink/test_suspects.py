"""What a lane's holder does with suspects, alone: reader and handlers are played by the test."""

import asyncio
from collections.abc import Collection, Sequence

import pytest

from app_node.counters import EVENT_HANDLED, QUARANTINED, Counters, Outcome
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from app_node.uplink.suspects import Suspects
from sio_cluster.protocol.codec import decode_uplink, encode_uplink
from sio_cluster.protocol.errors import BusUnavailable, LeaseLost
from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.protocol.messages import EventReceived, Fact
from sio_cluster.streams.api.lanes import Claimed, LaneEntry, Unclaimed
from sio_cluster.streams.api.leases import Lease

IO = "io1-aaaaaa"
BAD, MATE = f"{IO}.AAAAAAAAAAAAAAAA", f"{IO}.BBBBBBBBBBBBBBBB"
LANE = 2
REST = Unclaimed(LANE, 1, b"9-0")


def event(sid: str, number: int) -> EventReceived:
    return EventReceived(sid, number, b'["a"]')


def entry(number: int, *facts: Fact, takeovers: int = 0) -> LaneEntry:
    return LaneEntry(LANE, b"%d-0" % number, encode_uplink(IO, number, list(facts)), takeovers > 0, takeovers)


class Quarantine:
    """Plays the reader. `fails` is raised by the next move. `pages` are those that may still be claimed."""

    def __init__(self) -> None:
        self.entries: list[LaneEntry] = []
        self.pages: list[Claimed] = []
        self.fails: Exception | None = None
        self.moved = asyncio.Event()
        self._last = 0

    async def claim_more(self, rest: Unclaimed) -> Claimed:
        await asyncio.sleep(0)
        return self.pages.pop(0)

    async def peek(self, lane: int, count: int = 1, after: bytes = b"") -> list[LaneEntry]:
        """One entry is a page here."""
        assert lane == quarantine_of(LANE)
        ids = [one.id for one in self.entries]
        begin = ids.index(after) + 1 if after else 0
        return self.entries[begin : begin + 1]

    async def quarantine(self, lease: Lease, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        await asyncio.sleep(0)
        if self.fails is not None:
            failure, self.fails = self.fails, None
            raise failure
        for _, parts in moves:
            for part in parts:
                self._last += 1
                self.entries.append(LaneEntry(quarantine_of(LANE), b"%d-0" % self._last, part, True, 2))
        self.moved.set()

    def facts(self) -> list[Fact]:
        return [fact for one in self.entries for fact in decode_uplink(one.entry).facts]


class Stage:
    """One lane with its suspects. `handled` are the facts that handlers got, in order."""

    def __init__(self) -> None:
        self.lane = Lane(Lease(LANE, "app1", 1), float("inf"), lambda: 0.0)
        self.reader = Quarantine()
        self.handled: list[Fact] = []
        self.running: list[tuple[Fact, EntryProgress]] = []
        self.outcomes: list[Outcome] = []
        self.announced: list[set[int]] = []
        self.counters = Counters()
        self.suspects = Suspects(
            self.reader, self, self.counters, announce=self._announce, may_begin=lambda: asyncio.sleep(0)
        )

    def deliver(self, fact: Fact, progress: EntryProgress) -> None:
        self.handled.append(fact)
        self.running.append((fact, progress))

    def take(self, number: int, *facts: Fact) -> None:
        """As the consumer takes an entry."""
        entry_id = b"%d-0" % number
        self.lane.opened(entry_id, 1)
        progress = EntryProgress(
            self.lane, entry_id, False, self._done, lambda _, outcome: self.outcomes.append(outcome)
        )
        progress.begin_facts(facts, range(len(facts)))
        for fact in facts:
            self.suspects.deliver(fact, progress)
        progress.end()

    def end_all(self) -> None:
        """All handlers end."""
        running, self.running = self.running, []
        for fact, progress in running:
            progress.end_fact(fact, EVENT_HANDLED)

    def _done(self, progress: EntryProgress) -> None:
        self.lane.committed([progress.entry_id])

    async def _announce(self, lanes: Collection[int]) -> None:
        self.announced.append(set(lanes))


async def suspect(stage: Stage) -> None:
    """The lane is taken over with a suspect of BAD."""
    assert await stage.suspects.take(stage.lane, Claimed([entry(1, event(BAD, 1), takeovers=2)])) == Claimed([])


async def test_only_what_was_taken_over_twice_is_moved() -> None:
    stage = Stage()
    malformed = LaneEntry(LANE, b"2-0", b"\xc1", True, 2)
    once = entry(3, event(MATE, 3), takeovers=1)
    suspects = entry(1, event(BAD, 1), event(MATE, 2), takeovers=2)
    others = await stage.suspects.take(stage.lane, Claimed([suspects, malformed, once], REST))
    assert others == Claimed([malformed, once], REST)
    assert stage.reader.facts() == [event(BAD, 1), event(MATE, 2)]
    assert stage.counters.facts_quarantined == 2


async def test_all_suspects_are_moved_at_once_and_no_page_behind_them_is_claimed() -> None:
    stage = Stage()
    malformed = LaneEntry(LANE, b"2-0", b"\xc1", True, 2)
    once = entry(4, event(BAD, 4), takeovers=1)
    stage.reader.pages = [
        Claimed([malformed], REST),
        Claimed([entry(3, event(BAD, 3), takeovers=2), once], REST),
        Claimed([entry(5, event(BAD, 5), takeovers=1)]),
    ]
    others = await stage.suspects.take(stage.lane, Claimed([entry(1, event(BAD, 1), takeovers=2)], REST))
    assert others == Claimed([malformed, once], REST)
    assert stage.reader.facts() == [event(BAD, 1), event(BAD, 3)]
    assert len(stage.reader.pages) == 1
    stage.take(4, event(BAD, 4))
    stage.reader.entries.pop(0)
    await stage.suspects.look()
    assert stage.handled == []  # the second one is known too
    stage.reader.entries.clear()
    await stage.suspects.look()
    assert stage.handled == [event(BAD, 4)]


async def test_facts_wait_in_order_for_what_is_in_quarantine() -> None:
    stage = Stage()
    await suspect(stage)
    stage.take(4, event(BAD, 4), event(MATE, 5))
    await stage.suspects.look()
    stage.take(6, event(BAD, 6))
    assert stage.handled == [event(MATE, 5)]
    assert stage.announced[-1] == {LANE}
    stage.reader.entries.clear()
    await stage.suspects.look()
    stage.take(7, event(BAD, 7))
    assert stage.handled == [event(MATE, 5), event(BAD, 4), event(BAD, 6), event(BAD, 7)]
    assert stage.announced[-1] == set()


async def test_a_new_holder_knows_what_is_in_quarantine() -> None:
    stage = Stage()
    await suspect(stage)
    stage.suspects.drop_lane(stage.lane)
    assert not stage.suspects.quarantined
    await stage.suspects.take(stage.lane, Claimed([]))
    stage.take(4, event(BAD, 4))
    assert stage.handled == []


async def test_what_waits_follows_when_the_lane_moves() -> None:
    """It does so when nothing else of its entries is in work, and so does what comes meanwhile."""
    stage = Stage()
    await suspect(stage)
    stage.take(4, event(BAD, 4), event(MATE, 5))
    settled = asyncio.create_task(stage.suspects.settled(stage.lane))
    await asyncio.sleep(0.05)
    assert stage.reader.facts() == [event(BAD, 1)]  # the other fact of its entry is at work
    stage.reader.fails = BusUnavailable("away")
    stage.end_all()
    stage.take(6, event(BAD, 6))
    await asyncio.wait_for(settled, 5)
    assert stage.reader.facts() == [event(BAD, 1), event(BAD, 4), event(BAD, 6)]
    assert stage.outcomes == [EVENT_HANDLED, QUARANTINED, QUARANTINED]
    assert not stage.lane.in_work


async def test_what_follows_does_not_go_on_here_too() -> None:
    stage = Stage()
    await suspect(stage)
    stage.take(4, event(BAD, 4))
    stage.reader.fails = BusUnavailable("the answer was lost")
    settled = asyncio.create_task(stage.suspects.settled(stage.lane))
    while stage.reader.fails is not None:
        await asyncio.sleep(0)
    stage.reader.entries.clear()
    await stage.suspects.look()
    assert stage.handled == []
    await asyncio.wait_for(settled, 5)
    assert stage.reader.facts() == [event(BAD, 4)]


async def test_a_lane_that_is_lost_while_it_is_taken_is_not_ours() -> None:
    stage = Stage()
    stage.reader.fails = LeaseLost("lost")
    assert await stage.suspects.take(stage.lane, Claimed([entry(1, event(BAD, 1), takeovers=2)])) == Claimed([])
    assert not stage.lane.held()


async def test_a_lane_that_was_dropped_while_it_is_taken_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else this app-node said for ever that the quarantine of the lane holds something."""
    stage = Stage()
    move = stage.reader.quarantine

    async def move_and_lose(lease: Lease, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        await move(lease, moves)
        stage.suspects.drop_lane(stage.lane)
        stage.lane.lost = True

    monkeypatch.setattr(stage.reader, "quarantine", move_and_lose)
    once = entry(2, event(MATE, 2), takeovers=1)
    taken = await stage.suspects.take(stage.lane, Claimed([entry(1, event(BAD, 1), takeovers=2), once], REST))
    assert taken == Claimed([])
    assert not stage.suspects.quarantined


async def test_an_empty_quarantine_of_ours_is_known_at_once() -> None:
    stage = Stage()
    await suspect(stage)
    stage.take(4, event(BAD, 4))
    stage.suspects.emptied(LANE)
    assert not stage.suspects.quarantined
    await stage.suspects.look()
    assert stage.handled == [event(BAD, 4)]
