"""Compares the emits with what each member received: what was due, and what of it is missing."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from loadtest.accounting.result import Flaw, Integrity
from loadtest.accounting.worker_report import NEVER, Emits, Stay, StreamRow

UNDER_WAY_US = 1_000_000
"""An emit that was acked within this time before a lost connection was last heard of may have been lost with it."""

WORST = 10

Range = tuple[int, int]


@dataclass(slots=True)
class Sums:
    """What went wrong for one (publisher, room)."""

    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    first_lost: int | None = None


class EmitIndex:
    """The emits of one publisher into one room, indexed by time. Ranges are of sequence numbers, [from, to)."""

    def __init__(self, emits: Emits) -> None:
        self.sent_us = emits.sent_us
        self.count = len(emits.sent_us)
        self.unacked = [seq for seq, at in enumerate(emits.acked_us) if not at]  # after `see`: nor received by anybody
        self._acked_us = emits.acked_us
        self._acked_by: list[int] = []  # when this emit and all before it were acked, or are known to be emitted

    def see(self, rows: Iterable[StreamRow]) -> None:
        """Takes what members received; to be called once. An emit that somebody received was made, acked or not.

        When was it made? Before a later emit of the same publisher was acked, or else before the run ended.
        """
        unacked = self.unacked
        for row in rows:
            if not self.unacked:
                break
            for begin, end in _received(row, 0, min(row.next, self.count)):
                self.unacked = (
                    self.unacked[: bisect_left(self.unacked, begin)] + self.unacked[bisect_left(self.unacked, end) :]
                )
        emitted_by, later = list(self._acked_us), NEVER - 1
        seen = set(unacked).difference(self.unacked)
        for seq in range(self.count - 1, -1, -1):
            later = self._acked_us[seq] or later
            if seq in seen:
                emitted_by[seq] = later
        self._acked_by = list(accumulate(emitted_by, max))

    def sent(self, since_us: int, until_us: int) -> Range:
        """Emits sent in [since, until)."""
        return bisect_left(self.sent_us, since_us), bisect_left(self.sent_us, until_us)

    def surely_in(self, after_us: int, before_us: int) -> Range:
        """Emits sent after `after_us` and acked before `before_us`."""
        return bisect_right(self.sent_us, after_us), bisect_left(self._acked_by, before_us)

    def unacked_in(self, ranges: Iterable[Range]) -> int:
        return sum(bisect_left(self.unacked, end) - bisect_left(self.unacked, begin) for begin, end in ranges)


def settle(
    emits: Iterable[Emits], stays: Iterable[Stay], *, clock_error_us: int = 0, all_emits_known: bool = True
) -> Integrity:
    """The integrity of a run.

    `clock_error_us`: how far two machines' clocks may be apart; what falls into that time is uncertain.
    `all_emits_known`: False where a worker's emits are missing. Then no delivery is called unknown.
    """
    indexes: dict[int, dict[int, EmitIndex]] = defaultdict(dict)
    for each in emits:
        indexes[each.room][each.publisher] = EmitIndex(each)
    stays = sorted(stays, key=lambda stay: (stay.member, stay.asked_us))
    heard: dict[tuple[int, int], list[StreamRow]] = defaultdict(list)
    for stay in stays:
        for row in stay.streams:
            heard[stay.room, row.publisher].append(row)
    for number, room in indexes.items():
        for publisher, index in room.items():
            index.see(heard[number, publisher])
    total = Integrity()
    flaws: dict[tuple[int, int], Sums] = defaultdict(Sums)
    former: dict[tuple[int, int], Stay] = {}
    for stay in stays:
        rows = {row.publisher: row for row in stay.streams}
        room = indexes.get(stay.room, {})
        for publisher, index in room.items():
            row = rows.get(publisher) or StreamRow(publisher, 0, [])
            _settle_one(index, stay, row, clock_error_us, total, flaws[publisher, stay.room])
        before = former.get((stay.member, stay.room))
        for publisher, row in rows.items():
            sums = flaws[publisher, stay.room]
            again = _overlap(row, before) if before else 0
            sums.duplicated += row.duplicated + again
            sums.reordered += row.reordered
            known = room[publisher].count if publisher in room else 0
            total.misdelivered += _misdelivered(room[publisher], stay, row, clock_error_us) if known else 0
            if all_emits_known:
                total.unknown += _length(_received(row, known, row.next))
        former[stay.member, stay.room] = stay
    return _summed(total, flaws)


def _settle_one(index: EmitIndex, stay: Stay, row: StreamRow, error_us: int, total: Integrity, sums: Sums) -> None:
    if stay.unasked:
        return
    around = index.sent(stay.asked_us, stay.gone_us)
    missing_around = _missing(row, *around)
    if stay.excused:
        total.excused += _length(missing_around)
        return
    first, last = _due(index, stay, row, error_us)
    total.due += last - first - index.unacked_in([(first, last)])
    missing = _missing(row, first, last)
    lost = _length(missing) - index.unacked_in(missing)
    total.lost += lost
    both = _missing(row, max(first, around[0]), min(last, around[1]))  # lost ones are not counted as uncertain again
    total.uncertain += _length(missing_around) - (_length(both) - index.unacked_in(both))
    sums.lost += lost
    if lost:
        seq = next(seq for begin, end in missing for seq in range(begin, end) if not index.unacked_in([(seq, seq + 1)]))
        sums.first_lost = seq if sums.first_lost is None else min(seq, sums.first_lost)


def _misdelivered(index: EmitIndex, stay: Stay, row: StreamRow, error_us: int) -> int:
    """What a client received without being in the room: it never asked to join, or its leave was acked before."""
    first = 0 if stay.unasked else index.sent(0, min(stay.gone_us + error_us + 1, NEVER))[1]
    return _length(_received(row, first, min(row.next, index.count)))


def _due(index: EmitIndex, stay: Stay, row: StreamRow, error_us: int) -> Range:
    if stay.joined_us == NEVER:
        return 0, 0
    before_us = min(stay.leaving_us, NEVER if stay.cut_us is None else stay.cut_us - UNDER_WAY_US)
    first, last = index.surely_in(stay.joined_us + error_us, before_us - (error_us if before_us < NEVER else 0))
    if stay.cut_us is not None and row.next:
        last = max(last, min(row.next, index.count))  # in order: what precedes a received one cannot be under way
    return first, max(first, last)


def _missing(row: StreamRow, first: int, last: int) -> list[Range]:
    """What is not received in [first, last)."""
    ranges = [*row.holes, (row.next, last)]
    cut = ((max(first, begin), min(last, end)) for begin, end in ranges)
    return [(begin, end) for begin, end in cut if begin < end]


def _received(row: StreamRow, first: int, last: int) -> list[Range]:
    """What is received in [first, last)."""
    ranges: list[Range] = []
    at = first
    for begin, end in [*_missing(row, first, last), (last, last)]:
        if at < begin:
            ranges.append((at, begin))
        at = end
    return ranges


def _overlap(row: StreamRow, before: Stay) -> int:
    """How many of these the same member had received already in its stay before this one."""
    earlier = next((other for other in before.streams if other.publisher == row.publisher), None)
    if earlier is None:
        return 0
    return sum(_length(_received(earlier, *stretch)) for stretch in _received(row, 0, min(row.next, earlier.next)))


def _length(ranges: Sequence[Range]) -> int:
    return sum(end - begin for begin, end in ranges)


def _summed(total: Integrity, flaws: dict[tuple[int, int], Sums]) -> Integrity:
    worst = [
        Flaw(publisher, room, sums.lost, sums.duplicated, sums.reordered, sums.first_lost)
        for (publisher, room), sums in flaws.items()
        if sums.lost or sums.duplicated or sums.reordered
    ]
    total.duplicated = sum(flaw.duplicated for flaw in worst)
    total.reordered = sum(flaw.reordered for flaw in worst)
    total.worst = sorted(worst, key=lambda flaw: -(flaw.lost + flaw.duplicated + flaw.reordered))[:WORST]
    return total
