"""The file with the keys."""

import hashlib
import os
from pathlib import Path

import pytest

from app_node.api.keys import KeyFile, parse_keys
from sio_cluster.protocol.errors import ConfigError

LONG = "0123456789abcdef"


def test_what_a_line_may_have() -> None:
    digest = hashlib.sha256(b"another-long-key").hexdigest()
    one, two = parse_keys(
        f"# a comment\n\n  shop {LONG} namespaces=/,/shop verbs=emit,call \r\nreports\tsha256:{digest}\n"
    )
    assert (one.name, one.verbs, one.namespaces) == ("shop", frozenset({"emit", "call"}), frozenset({"/", "/shop"}))
    assert one.digest == hashlib.sha256(LONG.encode()).digest()
    assert one.may_use("call")
    assert not one.may_use("disconnect")
    assert one.may_reach("/shop")
    assert not one.may_reach("/admin")
    assert two.digest == bytes.fromhex(digest)
    assert two.may_use("disconnect")
    assert two.may_reach("/admin")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("shop", "must be: name key"),
        (f"{LONG}", "must be: name key"),
        (f"sh/op {LONG}", "must be: name key"),
        ("shop tooshort", "fewer than 16"),
        ("shop sha256:123", "64 hexadecimal digits"),
        ("shop verbs=emit", "is no key"),
        (f"shop {LONG} verbs=fly", "fly: no verb"),
        (f"shop {LONG} verbs=", "once each"),
        (f"shop {LONG} verbs=emit verbs=call", "once each"),
        (f"shop {LONG} verbs=emit, call", "once each"),
        (f"shop {LONG} namespaces=shop", "begins with /"),
        (f"shop {LONG} anything", "once each"),
        (f"shop {LONG}\nshop {LONG}2", "line 2: shop stands there twice"),
        (f"shop {LONG}\nstore {LONG}", "line 2: another name has this key"),
    ],
)
def test_a_fault_is_said_with_its_line_and_without_the_key(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refused:
        parse_keys(text)
    assert str(refused.value).startswith("API_KEYS_FILE: line ")
    assert LONG not in str(refused.value)


def test_a_change_of_the_file_counts_a_second_later(tmp_path: Path) -> None:
    path, now = tmp_path / "keys", 0.0

    def write(text: str) -> None:
        (tmp_path / "new").write_text(text)
        os.replace(tmp_path / "new", path)

    write(f"one {LONG}")
    keys = KeyFile(path, lambda: now)
    write(f"two {LONG}2")
    assert keys.owner(LONG.encode()) is not None
    now = 1.0
    assert keys.owner(LONG.encode()) is None
    assert keys.owner(f"{LONG}2".encode()) is not None
    write("two broken")
    now = 2.0
    assert keys.owner(f"{LONG}2".encode()) is not None
    path.unlink()
    now = 3.0
    assert keys.owner(f"{LONG}2".encode()) is not None


def test_a_wrong_key_is_compared_with_as_many_as_a_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("".join(f"k{number} {LONG}{number}\n" for number in range(5)))
    keys = KeyFile(tmp_path / "keys")
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("app_node.api.keys.hmac.compare_digest", compare)
    for presented in (f"{LONG}0", f"{LONG}4", "", "x" * 1000):
        compared.clear()
        keys.owner(presented.encode())
        assert len(compared) == 5


def test_no_file_and_no_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        KeyFile(tmp_path / "nothing")
    (tmp_path / "keys").write_text("# nobody\n")
    with pytest.raises(ConfigError, match="has no key"):
        KeyFile(tmp_path / "keys")
