"""What a client shows when it comes back. It may be anything."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sio_cluster.protocol.ids import new_sid
from sio_cluster.protocol.recovery import (
    START,
    Pid,
    Position,
    encode_offset,
    hash_of,
    is_same,
    new_secret,
    parse_offset,
    parse_pid,
    pid_of,
    position_of,
)

SID = "io1-abcdef.AAAAAAAAAAAAAAAA"
SECRET = "abcdefghij_-0123456789"
POSITIONS = st.builds(
    Position,
    st.integers(0, 2**48 - 1),
    st.integers(0, 2**24 - 1),
    st.integers(0, 2**24 - 1),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
STRANGE: list[Any] = [
    None, True, 7, 7.5, b"bytes", [], {}, [SID], {"pid": SID}, "", "~", SID, f"{SID}~", f"~{SECRET}",
    f"{SID}~{SECRET}x", f"{SID}~{SECRET[:-1]}", f"{SID}~{SECRET}\n", f"{SID}\n~{SECRET}", f" {SID}~{SECRET}",
    f"{SID}~{SECRET[:-1]}é", f"{SID}~{SECRET[:-1]}\ud800", f"{SID}~~{SECRET[1:]}", f"{SID[1:]}A~{SECRET}".upper(),
    "x" * 10_000_000, f"{SID}~{SECRET}" + "x" * 10_000_000, f"{SID}~" + "A" * 10_000_000, "\x00" * 50,
]  # fmt: skip


class TestPid:
    @given(st.binary(min_size=16, max_size=16), st.binary(min_size=12, max_size=12))
    def test_a_pid_says_its_sid_and_the_hash_of_its_secret(self, secret: bytes, random: bytes) -> None:
        sid, word = new_sid("io1-abcdef", lambda _: random), new_secret(lambda _: secret)
        assert parse_pid(pid_of(sid, word)) == Pid(sid, hash_of(word))

    def test_a_secret_has_128_bits_and_its_hash_256(self) -> None:
        assert new_secret(lambda size: bytes(range(size))) == "AAECAwQFBgcICQoLDA0ODw"
        assert hash_of(SECRET) == hashlib.sha256(SECRET.encode()).digest()

    @pytest.mark.parametrize("pid", STRANGE, ids=lambda pid: repr(pid)[:30])
    def test_what_is_no_pid(self, pid: Any) -> None:
        assert parse_pid(pid) is None

    @pytest.mark.slow
    @given(JSON)
    def test_whatever_json_brings(self, value: Any) -> None:
        assert parse_pid(value) is None
        assert parse_pid(json.dumps(value)) is None

    @given(st.integers(0, len(pid_of(SID, SECRET)) - 1), st.characters())
    def test_another_character_makes_another_pid_or_none(self, place: int, character: str) -> None:
        right = pid_of(SID, SECRET)
        shown = right[:place] + character + right[place + 1 :]
        assert (parse_pid(shown) == parse_pid(right)) is (shown == right)


class TestHashes:
    def test_the_same_and_others(self) -> None:
        assert is_same(hash_of(SECRET), hash_of(SECRET))
        assert not is_same(hash_of(SECRET), hash_of(SECRET[::-1]))
        assert not is_same(hash_of(SECRET), b"")
        assert not is_same(b"", hash_of(SECRET))
        assert not is_same(b"", b"")


class TestOffset:
    @given(POSITIONS)
    def test_it_comes_back(self, position: Position) -> None:
        offset = encode_offset(position)
        assert parse_offset(offset.decode()) == position
        assert len(offset) == 16

    @given(st.text("ABab_-01", min_size=16, max_size=16))
    def test_each_text_of_this_form_is_one_place(self, text: str) -> None:
        position = parse_offset(text)
        assert position is not None
        assert encode_offset(position).decode() == text

    @given(POSITIONS, POSITIONS)
    def test_places_are_sorted_as_in_the_log(self, one: Position, other: Position) -> None:
        assert (one < other) is ((one.ms, one.number, one.command) < (other.ms, other.number, other.command))
        assert one >= START

    @given(st.integers(0, 2**48 - 1), st.integers(0, 2**24 - 1), st.integers(0, 2**24 - 1))
    def test_an_entry_and_a_command_are_a_place(self, ms: int, number: int, command: int) -> None:
        position = position_of(b"%d-%d" % (ms, number), command)
        assert position == Position(ms, number, command)

    @pytest.mark.parametrize(
        "offset",
        [
            *STRANGE,
            "A" * 15,
            "A" * 17,
            "A" * 15 + "=",
            "A" * 15 + "+",
            "A" * 15 + "/",
            "A" * 16 + "\n",
            "é" * 16,
            "٣" * 16,
        ],
        ids=lambda offset: repr(offset)[:30],
    )
    def test_what_is_no_offset(self, offset: Any) -> None:
        assert parse_offset(offset) is None

    @pytest.mark.slow
    @given(JSON)
    def test_whatever_json_brings(self, value: Any) -> None:
        position = parse_offset(value)
        assert position is None or encode_offset(position).decode() == value
