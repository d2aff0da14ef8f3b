"""Reading signatures: who gets which arguments."""

import functools
from typing import Any
from unittest import mock

import pytest

from app_node.handlers.signatures import connect_arguments, disconnect_arguments, read_signature


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
