"""Which deliveries are due, lost or uncertain: by hand for each rule, and against a slow, obvious computation."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from loadtest.accounting.member import Stream
from loadtest.accounting.result import Flaw, Integrity
from loadtest.accounting.settle import UNDER_WAY_US, settle
from loadtest.accounting.worker_report import NEVER, Emits, Stay, StreamRow

SECOND = 1_000_000


def emits(count: int, *, publisher: int = 1, room: int = 1, unacked: tuple[int, ...] = ()) -> Emits:
    """One each second from second 1 on, acked 10 ms later."""
    sent = [(seq + 1) * SECOND for seq in range(count)]
    return Emits(publisher, room, sent, [0 if seq in unacked else at + 10_000 for seq, at in enumerate(sent)])


def row(seqs: list[int], publisher: int = 1) -> StreamRow:
    stream = Stream()
    for seq in seqs:
        stream.take(seq)
    holes = [(begin, end) for begin, end in stream.holes]
    return StreamRow(publisher, stream.next, holes, stream.duplicated, stream.reordered)


def stay(seqs: list[int], asked: float = 0.0, joined: float | None = 0.1, member: int = 7, **more: int | bool) -> Stay:
    joined_us = NEVER if joined is None else round(joined * SECOND)
    streams = [row(seqs)] if seqs else []
    return Stay(member, 1, round(asked * SECOND), joined_us, streams=streams, **more)  # type: ignore[arg-type]


def figures(result: Integrity) -> dict[str, int]:
    names = ("due", "lost", "duplicated", "reordered", "uncertain", "excused", "misdelivered", "unknown")
    return {name: value for name in names if (value := getattr(result, name))}


def test_all_is_well() -> None:
    result = settle([emits(5)], [stay([0, 1, 2, 3, 4])])
    assert figures(result) == {"due": 5}
    assert result.is_whole


def test_head_middle_and_tail_are_lost_alike() -> None:
    result = settle([emits(6)], [stay([1, 3, 4])])
    assert figures(result) == {"due": 6, "lost": 3}
    assert result.worst == [Flaw(1, 1, lost=3, first_lost_seq=0)]


def test_a_member_that_got_nothing_at_all() -> None:
    assert figures(settle([emits(4)], [stay([])])) == {"due": 4, "lost": 4}


def test_twice_and_out_of_order() -> None:
    assert figures(settle([emits(4)], [stay([0, 2, 1, 1, 3])])) == {"due": 4, "duplicated": 1, "reordered": 1}


def test_what_was_sent_before_is_not_due() -> None:
    assert figures(settle([emits(5)], [stay([3, 4], asked=3.5, joined=3.6)])) == {"due": 2}


def test_what_was_sent_while_the_join_was_under_way_is_uncertain() -> None:
    """Second 3 falls into the join: it may come or not."""
    assert figures(settle([emits(5)], [stay([3, 4], asked=2.5, joined=3.5)])) == {"due": 2, "uncertain": 1}
    assert figures(settle([emits(5)], [stay([2, 3, 4], asked=2.5, joined=3.5)])) == {"due": 2}


def test_a_leave_ends_it_when_asked_for() -> None:
    """Second 4 was emitted while the leave was under way."""
    left = stay([0, 1, 2], leaving_us=4 * SECOND - 1, gone_us=4 * SECOND + 1)
    assert figures(settle([emits(6)], [left])) == {"due": 3, "uncertain": 1}


def test_an_emit_that_was_not_acked_before_the_leave_is_uncertain() -> None:
    """It was sent before, but nobody can say that the application had it before."""
    left = stay([0, 1, 2], leaving_us=4 * SECOND + 5_000, gone_us=4 * SECOND + 6_000)
    assert figures(settle([emits(6)], [left])) == {"due": 3, "uncertain": 1}


def test_an_emit_that_was_never_acked_is_uncertain() -> None:
    assert figures(settle([emits(4, unacked=(2,))], [stay([0, 1, 3])])) == {"due": 3, "uncertain": 1}


def test_an_emit_that_anybody_received_is_due_to_all() -> None:
    """Its ack was lost, or the application ended in between: some got it, so the others had to."""
    assert figures(settle([emits(4, unacked=(2,))], [stay([0, 1, 2, 3])])) == {"due": 4}
    both = [stay([0, 1, 2, 3]), stay([0, 1, 3], member=8)]
    assert figures(settle([emits(4, unacked=(2,))], both)) == {"due": 8, "lost": 1}
    assert figures(settle([emits(4, unacked=(3,))], [stay([0, 1, 2, 3]), stay([0, 1, 2], member=8)]))["lost"] == 1
    left = stay([0, 1], member=8, leaving_us=round(3.5 * SECOND), gone_us=4 * SECOND)
    found = figures(settle([emits(4, unacked=(2,))], [stay([0, 1, 2, 3]), left]))
    assert found == {"due": 6, "uncertain": 1}, "perhaps it was emitted only then"


def test_what_came_after_an_acked_leave_is_misdelivered() -> None:
    left = stay([0, 1, 2, 3, 4], leaving_us=round(3.1 * SECOND), gone_us=round(3.2 * SECOND))
    result = settle([emits(6)], [left])
    assert figures(result) == {"due": 3, "misdelivered": 2}
    assert not result.is_whole
    assert figures(settle([emits(6)], [left], clock_error_us=SECOND)) == {"due": 1, "misdelivered": 1}


def test_what_came_without_a_request_to_join_is_misdelivered() -> None:
    assert figures(settle([emits(4)], [stay([2, 3], asked=2.9, joined=None, unasked=True)])) == {"misdelivered": 2}


def test_what_falls_into_a_reconnection_is_uncertain() -> None:
    cut = stay([0, 1], cut_us=2 * SECOND + 20_000, gone_us=round(4.5 * SECOND))
    back = stay([4, 5], asked=4.5, joined=4.6)
    assert figures(settle([emits(6)], [cut, back])) == {"due": 4, "uncertain": 2}


def test_a_gap_before_what_was_received_is_lost_even_with_a_cut_behind_it() -> None:
    cut = stay([0, 2], cut_us=3 * SECOND + 20_000)
    assert figures(settle([emits(6)], [cut])) == {"due": 3, "lost": 1, "uncertain": 3}


def test_silence_long_before_a_cut_is_a_loss() -> None:
    """The connection was heard of for long after those emits, so they were not under way when it broke."""
    cut = stay([0], cut_us=5 * SECOND)
    assert UNDER_WAY_US == SECOND
    assert figures(settle([emits(4)], [cut])) == {"due": 3, "lost": 2, "uncertain": 1}


def test_a_join_that_was_never_acked_makes_nothing_due() -> None:
    assert figures(settle([emits(3)], [stay([], joined=None)])) == {"uncertain": 3}


def test_what_came_before_a_reconnection_and_again_after_it_is_a_duplicate() -> None:
    cut = stay([0, 1, 2], cut_us=3 * SECOND, gone_us=round(3.5 * SECOND))
    back = stay([1, 2, 3], asked=3.5, joined=3.6)
    assert figures(settle([emits(4)], [cut, back])) == {"due": 4, "duplicated": 2}


def test_excused_members_lose_nothing() -> None:
    assert figures(settle([emits(4)], [stay([0], excused=True), stay([0, 1, 2, 3], member=8)])) == {
        "due": 4,
        "excused": 3,
    }


def test_what_nobody_sent_is_unknown() -> None:
    stranger = stay([0, 1, 2])
    stranger.streams.append(row([0, 1], publisher=99))
    assert figures(settle([emits(2)], [stranger])) == {"due": 2, "unknown": 3}
    assert figures(settle([emits(2)], [stranger], all_emits_known=False)) == {"due": 2}


def test_several_machines_are_as_exact_as_their_clocks() -> None:
    """The member joined 0.1 s before the emit, but the clocks may be 0.2 s apart."""
    late = stay([1, 2], asked=0.8, joined=0.9)
    assert figures(settle([emits(3)], [late])) == {"due": 3, "lost": 1}
    assert figures(settle([emits(3)], [late], clock_error_us=200_000)) == {"due": 2, "uncertain": 1}


@dataclass
class Case:
    book: Emits
    stays: list[Stay]
    got: list[set[int]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One publisher, one member that joins and leaves again and again, anything lost on the way."""
    sent, at = [], 0
    for _ in range(draw(st.integers(0, 25))):
        at += draw(st.integers(1, 400_000))
        sent.append(at)
    acked = [0 if draw(st.integers(0, 9)) == 0 else at + draw(st.integers(1, 300_000)) for at in sent]
    stays: list[Stay] = []
    got: list[set[int]] = []
    now = draw(st.integers(0, 1_000_000))
    first = 0
    for number in range(draw(st.integers(1, 4))):
        asked, joined = now, now + draw(st.integers(0, 200_000))
        now = end = joined + draw(st.integers(0, 3_000_000))
        gone = now = end + draw(st.integers(0, 500_000))
        seqs = sorted(draw(st.sets(st.integers(first, len(sent) - 1)))) if first < len(sent) else []
        first = seqs[-1] + 1 if seqs else first
        each = Stay(1, 1, asked, joined, end, gone, streams=[row(seqs)] if seqs else [])
        if draw(st.booleans()):
            each.leaving_us, each.cut_us = NEVER, end
        elif number == 3:
            each.leaving_us = each.gone_us = NEVER
        stays.append(each)
        got.append(set(seqs))
    return Case(Emits(1, 1, sent, acked), stays, got)


@given(cases())
def test_it_agrees_with_a_reckoning_one_by_one(case: Case) -> None:
    due = lost = uncertain = 0
    latest, acked_by = 0, []
    heard = set[int]().union(*case.got)
    emitted = [
        at or (next(filter(None, case.book.acked_us[seq:]), NEVER - 1) if seq in heard else 0)
        for seq, at in enumerate(case.book.acked_us)
    ]
    for at in emitted:
        latest = max(latest, at)
        acked_by.append(latest)
    for each, got in zip(case.stays, case.got, strict=True):
        before = each.leaving_us if each.cut_us is None else each.cut_us - UNDER_WAY_US
        for seq, sent in enumerate(case.book.sent_us):
            in_order = each.cut_us is not None and bool(got) and seq <= max(got)
            surely = sent > each.joined_us and bool(emitted[seq]) and (acked_by[seq] < before or in_order)
            due += surely
            lost += surely and seq not in got
            uncertain += not surely and each.asked_us <= sent < each.gone_us and seq not in got
    result = settle([case.book], case.stays)
    assert (result.due, result.lost, result.uncertain) == (due, lost, uncertain)
    assert (result.duplicated, result.reordered, result.unknown) == (0, 0, 0)
