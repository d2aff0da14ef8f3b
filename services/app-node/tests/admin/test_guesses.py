"""How often somebody may show what is wrong."""

import pytest

from app_node.admin import guesses
from app_node.admin.guesses import AT_ONCE, EVERY_S, Guesses


def taken(left: Guesses, address: str, now: float = 0.0, most: int = 100) -> int:
    """How many it gets of `most`."""
    return sum([left.take(address, now) for _ in range(most)])


def test_an_address_has_some_at_once_and_then_one_at_a_time() -> None:
    left = Guesses()
    assert taken(left, "192.0.2.1") == AT_ONCE
    assert not left.take("192.0.2.1", EVERY_S - 0.1)
    assert taken(left, "192.0.2.1", EVERY_S) == 1
    assert taken(left, "192.0.2.1", 4 * EVERY_S) == 3
    assert taken(left, "192.0.2.1", 1000 * EVERY_S) == AT_ONCE, "not more, however long it waited"


def test_other_addresses_have_theirs() -> None:
    left = Guesses()
    taken(left, "192.0.2.1")
    assert left.take("192.0.2.2", 0.0)
    assert left.take("", 0.0), "an address that nobody knows"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_a_network_of_ipv6_counts_as_one(one: str, other: str, same: bool) -> None:
    left = Guesses()
    taken(left, one)
    assert left.take(other, 0.0) is not same


def test_what_was_right_is_given_back() -> None:
    left = Guesses()
    for _ in range(100):
        assert left.take("192.0.2.1", 0.0)
        left.give_back("192.0.2.1")
    assert taken(left, "192.0.2.1") == AT_ONCE


def test_those_that_guessed_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guesses, "MOST_ADDRESSES", 2)
    left = Guesses()
    for address in ("a", "b", "a", "c"):
        taken(left, address)
    left.give_back("b")  # nobody remembers it
    assert taken(left, "c") == 0
    assert taken(left, "b") == AT_ONCE
