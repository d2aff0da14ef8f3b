"""Reading signatures: who gets which arguments."""

import functools
from typing import Any
from unittest import mock

import pytest

from app_node.clients.environ import environ_of
from app_node.handlers.signatures import connect_arguments, disconnect_arguments, read_signature
from sio_cluster.protocol.messages import Handshake


class Bound:
    def method(self, sid: str, environ: Any) -> None: ...

    def __call__(self, sid: str, environ: Any, auth: Any) -> None: ...


def fixed(extra: str, sid: str, environ: Any) -> None: ...


CONNECT = [
    (lambda sid, environ: 0, ["s", "e"], {}),
    (lambda sid, environ, auth: 0, ["s", "e", "a"], {}),
    (lambda sid, environ, auth=None: 0, ["s", "e", "a"], {}),
    (lambda sid, environ, auth, more=1: 0, ["s", "e", "a"], {}),
    (lambda *args: 0, ["s", "e", "a"], {}),
    (lambda *args, is_reconnect: 0, ["s", "e", "a"], {"is_reconnect": "r"}),
    (lambda sid, environ, is_reconnect: 0, ["s", "e", "r"], {}),
    (lambda sid, environ, is_reconnect=False: 0, ["s", "e", "r"], {}),
    (lambda sid, environ, is_reconnect, auth: 0, ["s", "e", "r", "a"], {}),
    (lambda sid, environ, auth, is_reconnect: 0, ["s", "e", "a", "r"], {}),
    (lambda sid, environ, *, is_reconnect=False: 0, ["s", "e"], {"is_reconnect": "r"}),
    (lambda sid, environ, auth, more=1, is_reconnect=False: 0, ["s", "e", "a"], {"is_reconnect": "r"}),
    (lambda sid, environ, **more: 0, ["s", "e"], {}),
    (Bound().method, ["s", "e"], {}),
    (Bound(), ["s", "e", "a"], {}),
    (functools.partial(fixed, "x"), ["s", "e"], {}),
    (mock.MagicMock(), ["s", "e", "a"], {}),
    (lambda sid: 0, ["s", "e"], {}),
]


@pytest.mark.parametrize(("handler", "args", "keywords"), CONNECT)
def test_connect(handler: Any, args: list[str], keywords: dict[str, str]) -> None:
    signature = read_signature(handler)
    assert connect_arguments(signature, ("s",), "e", "a", "r") == (args, keywords)  # type: ignore[arg-type]


def test_connect_of_a_catch_all_namespace() -> None:
    signature = read_signature(lambda namespace, sid, environ, is_reconnect: 0)
    assert connect_arguments(signature, ("n", "s"), "e", "a", True) == (["n", "s", "e", True], {})


@pytest.mark.parametrize(
    ("handler", "args"),
    [(lambda sid: 0, ["s"]), (lambda sid, reason: 0, ["s", "r"]), (lambda *args: 0, ["s", "r"])],
)
def test_disconnect(handler: Any, args: list[str]) -> None:
    assert disconnect_arguments(read_signature(handler), ("s",), "r") == args


def test_environ() -> None:
    headers = [
        ("host", "h:8080"), ("cookie", "a=1"), ("x-a", "1"), ("x-a", "2"), ("content-type", "t"),
        ("x-forwarded-proto", "https"),
    ]  # fmt: skip
    environ = environ_of(Handshake("GET", "/socket.io/caf%C3%A9", "EIO=4", headers, "10.0.0.1", 5))
    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == "/socket.io/caf\u00e9"
    assert environ["RAW_URI"] == "/socket.io/caf%C3%A9?EIO=4"
    assert environ["QUERY_STRING"] == "EIO=4"
    assert environ["HTTP_COOKIE"] == "a=1"
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["CONTENT_TYPE"] == "t"
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("10.0.0.1", "5")
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == ("h", "8080")
    assert environ["wsgi.url_scheme"] == "https"
    scope = environ["asgi.scope"]
    assert (scope["path"], scope["query_string"]) == ("/socket.io/caf\u00e9", b"EIO=4")
    assert (b"cookie", b"a=1") in scope["headers"]
