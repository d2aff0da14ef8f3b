"""Reading signatures: who gets which arguments."""

import functools
import inspect
from typing import Any
from unittest import mock

import pytest

from app_node.handlers.calls import connect_arguments
from app_node.handlers.signatures import read_signature


class Bound:
    def method(self, sid: str, environ: Any) -> None: ...

    def __call__(self, sid: str, environ: Any, auth: Any) -> None: ...


def fixed(extra: str, sid: str, environ: Any) -> None: ...


FLAGS: Any = {"is_reconnect": "r", "is_recovered": "b"}
"""What the handlers below get: a word in place of each truth value."""

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
    (lambda sid, environ, is_recovered: 0, ["s", "e", "b"], {}),
    (lambda sid, environ, auth, *, is_recovered: 0, ["s", "e", "a"], {"is_recovered": "b"}),
    (lambda sid, environ, auth, is_reconnect, is_recovered: 0, ["s", "e", "a", "r", "b"], {}),
    (lambda sid, environ, is_recovered, auth, is_reconnect: 0, ["s", "e", "b", "a", "r"], {}),
    (lambda sid, environ, is_recovered, *, is_reconnect: 0, ["s", "e", "b"], {"is_reconnect": "r"}),
    (lambda sid, environ, auth, more=1, is_recovered=False: 0, ["s", "e", "a"], {"is_recovered": "b"}),
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
    assert connect_arguments(signature, ("s",), "e", "a", FLAGS) == (args, keywords)


def test_connect_of_a_catch_all_namespace() -> None:
    signature = read_signature(lambda namespace, sid, environ, is_reconnect: 0)
    assert connect_arguments(signature, ("n", "s"), "e", "a", FLAGS) == (["n", "s", "e", "r"], {})


def passes_on(handler: Any) -> Any:
    """A decorator that passes everything on."""

    @functools.wraps(handler)
    def wrapper(*args: Any, **keywords: Any) -> Any:
        return handler(*args, **keywords)

    return wrapper


def passes_positions_on(handler: Any) -> Any:
    @functools.wraps(handler)
    def wrapper(*args: Any) -> Any:
        return handler(*args)

    return wrapper


def takes_three(handler: Any) -> Any:
    @functools.wraps(handler)
    def wrapper(sid: str, environ: Any, auth: Any) -> Any:
        return handler(sid)

    return wrapper


def takes_three_and_keywords(handler: Any) -> Any:
    @functools.wraps(handler)
    def wrapper(sid: str, environ: Any, auth: Any = None, **keywords: Any) -> Any:
        return handler(sid, environ, auth, **keywords)

    return wrapper


class Decorator:
    """A decorator that is a class."""

    def __init__(self, handler: Any) -> None:
        functools.update_wrapper(self, handler)
        self.handler = handler

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        return self.handler(*args, **keywords)


class Decorated:
    @passes_on
    def method(self, sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None: ...

    @passes_on
    def __call__(self, sid: str, environ: Any, auth: Any, is_reconnect: bool) -> None: ...


def with_reconnect(sid: str, environ: Any, auth: Any, is_reconnect: bool = False) -> None: ...


def without_auth(sid: str, environ: Any, is_reconnect: bool = False) -> None: ...


def by_position_only(sid: str, environ: Any, auth: Any, is_reconnect: bool = False, /) -> None: ...


WRAPPED = [
    # What is called is the wrapper.
    (takes_three(lambda sid: 0), ["s", "e", "a"], {}),
    (takes_three(with_reconnect), ["s", "e", "a"], {}),
    (Decorated().method, ["s", "e", "a"], {"is_reconnect": "r"}),
    (Decorated(), ["s", "e", "a"], {"is_reconnect": "r"}),
    # One that takes any keyword passes `is_reconnect` on to a function that takes it.
    (passes_on(with_reconnect), ["s", "e", "a"], {"is_reconnect": "r"}),
    (passes_on(without_auth), ["s", "e", "a"], {"is_reconnect": "r"}),
    (passes_on(passes_on(with_reconnect)), ["s", "e", "a"], {"is_reconnect": "r"}),
    (Decorator(with_reconnect), ["s", "e", "a"], {"is_reconnect": "r"}),
    (functools.partial(passes_on(with_reconnect)), ["s", "e", "a"], {"is_reconnect": "r"}),
    (takes_three_and_keywords(with_reconnect), ["s", "e", "a"], {"is_reconnect": "r"}),
    (passes_on(lambda sid, environ, auth, *, is_reconnect: 0), ["s", "e", "a"], {"is_reconnect": "r"}),
    (passes_on(lambda sid, environ, auth, is_recovered: 0), ["s", "e", "a"], {"is_recovered": "b"}),
    # Not if something in between stops it, or the function takes it by position only.
    (passes_positions_on(with_reconnect), ["s", "e", "a"], {}),
    (passes_on(takes_three(with_reconnect)), ["s", "e", "a"], {}),
    (passes_on(passes_positions_on(with_reconnect)), ["s", "e", "a"], {}),
    (passes_on(by_position_only), ["s", "e", "a"], {}),
    (passes_on(lambda sid, environ: 0), ["s", "e", "a"], {}),
    (by_position_only, ["s", "e", "a", "r"], {}),
    # Wrappers in C cannot be inspected, and pass everything on.
    (staticmethod(without_auth), ["s", "e", "r"], {}),
    (functools.lru_cache(lambda sid, environ: 0), ["s", "e"], {}),
]


@pytest.mark.parametrize(("handler", "args", "keywords"), WRAPPED)
def test_connect_of_a_decorated_handler(handler: Any, args: list[str], keywords: dict[str, str]) -> None:
    signature = read_signature(handler)
    assert connect_arguments(signature, ("s",), "e", "a", FLAGS) == (args, keywords)


def takes_two(handler: Any) -> Any:
    @functools.wraps(handler)
    def wrapper(sid: str, environ: Any) -> Any:
        return handler(sid, environ, None, "user")

    return wrapper


def states_that_of(handler: Any) -> Any:
    """Its author says what it takes, since `*args` does not."""

    def wrapper(*args: Any, **keywords: Any) -> Any:
        return handler(*args, **keywords)

    wrapper.__signature__ = inspect.signature(handler)  # type: ignore[attr-defined]
    return wrapper


def of_four(sid: str, environ: Any, auth: Any, user: str) -> None: ...


def of_two(sid: str, environ: Any) -> None: ...


of_four.__signature__ = inspect.signature(of_four)  # type: ignore[attr-defined]


class TakesTwo:
    def __init__(self, handler: Any) -> None:
        functools.update_wrapper(self, handler)
        self.handler = handler

    def __call__(self, sid: str, environ: Any) -> Any:
        return self.handler(sid, environ, None, "user")


class Copied:
    @takes_two
    def method(self, sid: str, environ: Any, auth: Any) -> None: ...


setattr(Copied.method, "__signature__", inspect.signature(of_four))  # noqa: B010 - mypy knows no such attribute


@pytest.mark.parametrize(
    ("handler", "args"),
    [
        # `functools.wraps` copies the statement of the function inside, which is not true of the decorator.
        (takes_two(of_four), ["s", "e"]),
        (takes_two(takes_three(of_four)), ["s", "e"]),
        (takes_three(takes_two(of_four)), ["s", "e", "a"]),
        (passes_on(of_four), ["s", "e", "a"]),
        (functools.partial(takes_two(of_four)), ["s", "e"]),
        (TakesTwo(of_four), ["s", "e"]),
        (Copied().method, ["s", "e"]),
        # Where the decorator states its own, it is believed as far as its code says nothing else.
        (states_that_of(of_two), ["s", "e"]),
        (states_that_of(takes_two(of_two)), ["s", "e"]),
        (functools.lru_cache(of_four), ["s", "e", "a"]),
    ],
)
def test_a_signature_that_somebody_states(handler: Any, args: list[str]) -> None:
    assert connect_arguments(read_signature(handler), ("s",), "e", "a", FLAGS) == (args, {})


def test_a_stated_signature_does_not_hide_whether_the_last_argument_may_be_left_out() -> None:
    assert read_signature(passes_on(of_four)).positional is None


@pytest.mark.parametrize(
    ("handler", "taken"),
    [
        (lambda sid, text: 0, False),
        (lambda sid, text, is_redelivered: 0, True),
        (lambda sid, text, is_redelivered, /: 0, False),
        (lambda sid, **more: 0, False),
        (passes_on(lambda sid, text, is_redelivered: 0), True),
        (passes_positions_on(lambda sid, text, is_redelivered=False: 0), False),
    ],
)
def test_is_redelivered(handler: Any, taken: bool) -> None:
    assert read_signature(handler).is_redelivered is taken


def test_annotations_need_not_be_known() -> None:
    namespace: dict[str, Any] = {}
    exec("from __future__ import annotations\ndef connect(sid: Unknown, environ: Unknown): ...", namespace)
    assert read_signature(namespace["connect"]).positional == 2
