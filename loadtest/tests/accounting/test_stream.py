"""A stream knows exactly what it received, in whatever order it came."""

from hypothesis import given
from hypothesis import strategies as st
from loadtest.accounting.member import Stream


@given(st.lists(st.integers(0, 40), max_size=120))
def test_any_order(seqs: list[int]) -> None:
    stream, seen, highest = Stream(), set[int](), -1
    duplicated = reordered = 0
    for seq in seqs:
        duplicated += seq in seen
        reordered += seq not in seen and seq < highest
        seen.add(seq)
        highest = max(highest, seq)
        stream.take(seq)
    missing = {seq for begin, end in stream.holes for seq in range(begin, end)}
    assert set(range(stream.next)) - missing == seen
    assert (stream.received, stream.duplicated, stream.reordered) == (len(seen), duplicated, reordered)
    assert stream.holes == sorted(stream.holes)
    assert stream.gaps == (sum(1 for seq in missing if seq > min(seen)) if seen else 0)


def test_what_was_before_the_member_came_is_one_hole() -> None:
    stream = Stream()
    for seq in range(1000, 2000):
        stream.take(seq)
    assert stream.holes == [[0, 1000]]
    assert (stream.received, stream.gaps) == (1000, 0)
