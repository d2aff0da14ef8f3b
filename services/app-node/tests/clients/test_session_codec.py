"""What a session may hold."""

import datetime
import enum
from collections import Counter, OrderedDict, defaultdict, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_node.clients.session_codec import decode_session, encode_session

Point = namedtuple("Point", "x y")


class Colour(enum.IntEnum):
    RED = 1


class Name(enum.StrEnum):
    ANN = "ann"


class Detached:
    """Such as a row of a database whose connection is closed."""

    def __repr__(self) -> str:
        raise LookupError("it cannot be loaded any more")


class Text(str):
    """Says of itself what it is not."""

    def __str__(self) -> str:
        return "something else"


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(scalars, inner, max_size=4), max_leaves=20
)


@given(values)
def test_what_was_saved_comes_back(session: Any) -> None:
    assert decode_session(encode_session(session)) == session


@pytest.mark.parametrize(
    ("session", "comes_back"),
    [
        (OrderedDict(a=OrderedDict(b=1)), {"a": {"b": 1}}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        ({"point": Point(1, 2), "pair": (1, (2,))}, {"point": [1, 2], "pair": [1, [2]]}),
        ({"colour": Colour.RED, Name.ANN: Name.ANN}, {"colour": 1, "ann": "ann"}),
        ([Text("text")], ["text"]),
        ([bytearray(b"a"), memoryview(b"b")], [b"a", b"b"]),
    ],
)
def test_kinds_of_plain_things_come_back_plain(session: Any, comes_back: Any) -> None:
    again = decode_session(encode_session(session))
    assert again == comes_back
    assert repr(again) == repr(comes_back)


def holds_itself() -> Any:
    session: dict[str, Any] = {}
    session["me"] = [session]
    return session


def deep(levels: int) -> Any:
    session: Any = 1
    for _ in range(levels):
        session = [session]
    return session


@pytest.mark.parametrize(
    ("session", "why"),
    [
        ({"when": datetime.datetime(2026, 1, 1)}, "cannot hold a datetime"),
        ({1, 2}, "cannot hold a set"),
        ({"a": object()}, "cannot hold a object"),
        ({"a": Detached()}, "cannot hold a Detached"),
        ({(1, 2): 3}, "cannot hold a tuple"),
        (holds_itself(), "nested too deeply, or holds itself"),
        (deep(100_000), "nested too deeply"),
        ("\ud83d", "surrogate"),
        ({"\ud83d": 1}, "surrogate"),
        (2**64, "64 bits"),
        ({-(2**63) - 1: 1}, "64 bits"),
    ],
    ids=range(11),
)
def test_all_else_is_a_type_error(session: Any, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        encode_session(session)


def test_the_error_does_not_tell_what_the_value_holds() -> None:
    with pytest.raises(TypeError) as raised:
        encode_session({"tokens": {"a secret"}})
    assert "secret" not in str(raised.value)
