"""Which clients get a pid and offsets."""

import json
from typing import Any

import pytest

from io_node.socketio.capability import Trusted, can_use_offsets, read_auth
from sio_cluster.protocol.messages import Handshake
from sio_cluster.protocol.recovery import hash_of

PID = "io1-aaaaaa.aaaaaaaaaaaaaaaa~" + "s" * 22
DEFLATE = ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits")


def handshake(*headers: tuple[str, str], query: str = "EIO=4") -> Handshake:
    return Handshake("GET", "/socket.io/", query, [("host", "localhost"), *headers], "127.0.0.1")


def agent(name: str) -> tuple[str, str]:
    return ("user-agent", name)


@pytest.mark.parametrize(
    ("headers", "capable"),
    [
        ([agent("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"), DEFLATE], True),
        ([agent("node-XMLHttpRequest")], True),
        ([agent("node")], False),
        ([agent("Bun/1.1.30")], True),
        ([agent("Deno/2.0.0")], True),
        ([DEFLATE], False),
        ([], False),
        ([agent("")], False),
        ([agent("python-requests/2.34.2")], False),
        ([agent("Python/3.11 aiohttp/3.14.5"), DEFLATE], False),
        ([agent("okhttp/3.12.12")], False),
        ([agent("node-fetch/1.0")], False),
        ([agent("Dart/3.2 (dart:io)")], False),
        ([("sec-websocket-extensions", "x-webkit-deflate-frame")], False),
    ],
)
def test_by_what_stock_clients_send(headers: list[tuple[str, str]], capable: bool) -> None:
    assert can_use_offsets(handshake(*headers), read_auth(None)) is capable


def test_the_setting_decides_where_a_client_says_nothing() -> None:
    browser, other = handshake(agent("Mozilla/5.0")), handshake(DEFLATE)
    expected: dict[Trusted, tuple[bool, bool]] = {
        "known": (True, False), "all": (True, True), "asking": (False, False),
    }  # fmt: skip
    for clients, answers in expected.items():
        assert tuple(can_use_offsets(one, read_auth(None), clients) for one in (browser, other)) == answers
        for wish in (True, False):
            said = handshake(query=f"recovery={int(wish)}")
            assert can_use_offsets(said, read_auth(None), clients) is wish
        assert can_use_offsets(other, read_auth(json.dumps({"pid": PID}).encode()), clients)


@pytest.mark.parametrize("capable", [True, False])
def test_a_client_may_say_it_itself(capable: bool) -> None:
    other = handshake(agent("okhttp/3") if capable else agent("Mozilla/5.0"))
    for word in ("1", "true") if capable else ("0", "false"):
        said = handshake(*other.headers, query=f"EIO=4&recovery={word}&a=b")
        assert can_use_offsets(said, read_auth(None)) is capable
    assert can_use_offsets(other, read_auth(json.dumps({"recovery": capable}).encode())) is capable
    against = handshake(*other.headers, query=f"recovery={int(not capable)}")
    assert can_use_offsets(against, read_auth(json.dumps({"recovery": capable}).encode())) is capable
    for nothing in ("recovery=", "recovery=maybe", "recoveryx=1", "a=recovery"):
        assert can_use_offsets(handshake(*other.headers, query=nothing), read_auth(None)) is not capable


def test_whoever_shows_a_pid_knows_what_it_is() -> None:
    asked = read_auth(json.dumps({"pid": PID}).encode())
    assert can_use_offsets(handshake(agent("okhttp/3")), asked)
    assert not can_use_offsets(handshake(), read_auth(b'{"pid":"x"}'))
    assert not can_use_offsets(handshake(), read_auth(json.dumps({"pid": PID, "recovery": False}).encode()))


@pytest.mark.parametrize(
    "auth", [None, b"{}", b"7", b'"pid"', b'["pid"]', b'{"a":"\\"pid\\""}', b"null", b'{"token":1.0e3}']
)
def test_auth_without_a_pid_is_left_as_it_is(auth: bytes | None) -> None:
    asked = read_auth(auth)
    assert asked.auth == auth
    assert not asked.shows_pid


def test_pid_and_offset_are_taken_out() -> None:
    asked = read_auth(b'{"pid":"%b","offset":"abc"}' % PID.encode())
    assert asked.auth is None
    assert asked.pid is not None
    assert asked.pid.hash == hash_of("s" * 22)
    assert (asked.secret_pid, asked.offset) == (PID, "abc")
    asked = read_auth(b'{"pid":"%b","offset":"abc","n":12345678901234567890.10,"recovery":true}' % PID.encode())
    assert asked.auth == b'{"n":12345678901234567890.10,"recovery":true}'
    assert asked.wish is True


@pytest.mark.parametrize(
    ("pid", "left"),
    [
        ("", None),
        ("x" * 1_000_000, None),
        (PID + "x", None),
        (7, {"pid": 7, "offset": "o"}),
        (None, {"pid": None, "offset": "o"}),
        ({"a": []}, {"pid": {"a": []}, "offset": "o"}),
        ([PID], {"pid": [PID], "offset": "o"}),
    ],
)
def test_what_cannot_be_a_pid(pid: Any, left: Any) -> None:
    asked = read_auth(json.dumps({"pid": pid, "offset": "o"}).encode())
    assert asked.shows_pid
    assert asked.pid is None
    assert asked.secret_pid == ""
    assert (None if asked.auth is None else json.loads(asked.auth)) == left


@pytest.mark.parametrize("name", [r"\u0070id", r"p\u0069d", r"pi\u0064", r"\u0070\u0069\u0064"])
def test_a_name_may_be_written_with_escapes(name: str) -> None:
    """It is the same name in JSON, and the pid is a secret that no handler may see."""
    asked = read_auth(f'{{"{name}":"{PID}","offset":"abc","token":1}}'.encode())
    assert asked.auth == b'{"token":1}'
    assert asked.pid is not None
    assert (asked.secret_pid, asked.offset) == (PID, "abc")
    assert read_auth(rb'{"r\u0065covery":true}').wish is True
    assert read_auth(rb'{"token":"\u00fc"}').auth == rb'{"token":"\u00fc"}'


def test_json_that_only_some_read() -> None:
    r"""Half of a surrogate pair is JSON, and no Unicode."""
    asked = read_auth(rb'{"pid":"%b","name":"\ud83d"}' % PID.encode())
    assert asked.pid is not None
    assert asked.auth is not None
    assert json.loads(asked.auth) == {"name": "\ud83d"}
    assert read_auth(rb'{"pid":"\ud83d"}').pid is None
    assert read_auth(rb'{"\ud83d":"pid","recovery":true}').wish is True
