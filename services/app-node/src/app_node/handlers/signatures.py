"""Which arguments a handler takes, read from its signature once.

What counts is the signature of what is called. A decorator may change the arguments, so the function that it wraps
(`__wrapped__`) does not count. There is one exception: a decorator with `**kwargs` passes `is_reconnect`,
`is_recovered` and `is_redelivered` on, so it gets them if the function inside takes them.
"""

import functools
import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[..., Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_UNEVALUATED: dict[str, Any] = {}
if sys.version_info >= (3, 14):  # where annotations are evaluated when somebody asks, and their names may be missing
    import annotationlib

    _UNEVALUATED["annotation_format"] = annotationlib.Format.FORWARDREF


CONNECT_FLAGS = ("is_reconnect", "is_recovered")
"""What a `connect` handler is told of how its client came, if it takes arguments of these names."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler takes.

    `positional`: how many arguments it takes by position, without those below; None: any number. `flags`: which of
    CONNECT_FLAGS it can be given. `flags_at`: those among them that it takes by position, each with its position, in
    order. `is_redelivered`: whether it can be given an argument of that name.
    """

    positional: int | None
    flags: frozenset[str] = frozenset()
    flags_at: tuple[tuple[int, str], ...] = ()
    is_redelivered: bool = False


class Signatures:
    """The signatures of all handlers that were called so far. As many as the application registers, at most."""

    def __init__(self) -> None:
        self._known: dict[Handler, Signature] = {}

    def of(self, handler: Handler) -> Signature:
        """The handler's signature, read the first time that it is asked for."""
        try:
            known = self._known.get(handler)
        except TypeError:  # a callable object that cannot be hashed
            return read_signature(handler)
        if known is None:
            known = self._known[handler] = read_signature(handler)
        return known


def read_signature(handler: Handler) -> Signature:
    """The handler's signature. One that cannot be inspected counts as taking anything."""
    parameters = _parameters(handler)
    if parameters is None:
        return Signature(None)
    by_position = [p.name for p in parameters if p.kind in _POSITIONAL]
    flags_at = tuple((at, name) for at, name in enumerate(by_position) if name in CONNECT_FLAGS)
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    own = {*CONNECT_FLAGS, "is_redelivered"}
    return Signature(
        positional=None if variadic else sum(name not in own for name in by_position),
        flags=frozenset(f for f in CONNECT_FLAGS if f in by_position or _takes_keyword(handler, f)),
        flags_at=flags_at,
        is_redelivered=_takes_keyword(handler, "is_redelivered"),
    )


def _takes_keyword(handler: Handler, name: str) -> bool:
    """Whether the handler has a parameter of this name, or passes keywords on to a function that takes it."""
    parameters = _parameters(handler) or ()
    if any(p.name == name and p.kind in _NAMED for p in parameters):
        return True
    passes_on = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    inner = _wrapped_by(handler) if passes_on else None
    return inner is not None and _takes_keyword(inner, name)


def _parameters(handler: Handler) -> list[inspect.Parameter] | None:
    """The parameters of what is called. None if they cannot be read.

    A wrapper in C (`staticmethod`, `functools.lru_cache`) has no signature to read. It passes everything on, so the
    parameters are those of the function inside.
    """
    try:
        own = inspect.signature(_without_untrue_signature(handler), follow_wrapped=False, **_UNEVALUATED)
    except (TypeError, ValueError):
        inner = _wrapped_by(handler)
        return None if inner is None else _parameters(inner)
    return list(own.parameters.values())


def _without_untrue_signature(handler: Handler) -> Handler:
    """What takes the same as the handler, and states no signature (`__signature__`) that is not its own.

    If a function states its signature, `functools.wraps` copies that onto a decorator. It is believed only where the
    decorator itself states it, and takes `*args`, which says nothing.
    """
    if isinstance(handler, functools.partial):
        return functools.partial(_without_untrue_signature(handler.func), *handler.args, **handler.keywords)
    if isinstance(handler, types.MethodType):
        return types.MethodType(_without_untrue_signature(handler.__func__), handler.__self__)
    stated = getattr(handler, "__signature__", None)
    if stated is None:
        return handler
    is_copy = stated is getattr(getattr(handler, "__wrapped__", None), "__signature__", None)
    if not isinstance(handler, types.FunctionType):  # a wrapper in C passes everything on, so it is true of that
        call = type(handler).__call__
        is_ours = is_copy and isinstance(call, types.FunctionType)
        return _without_untrue_signature(types.MethodType(call, handler)) if is_ours else handler
    code = handler.__code__
    if code.co_flags & inspect.CO_VARARGS and not is_copy:
        return handler
    bare = types.FunctionType(code, handler.__globals__, None, handler.__defaults__, handler.__closure__)
    bare.__kwdefaults__ = handler.__kwdefaults__
    return bare


def _wrapped_by(handler: Handler) -> Handler | None:
    """The function around which this one was made, as `functools.wraps` notes it. None if it notes nothing."""
    if isinstance(handler, functools.partial):
        return _wrapped_by(handler.func)
    inner = getattr(handler, "__wrapped__", None)
    if inner is None and not inspect.isroutine(handler):
        inner = getattr(type(handler).__call__, "__wrapped__", None)  # an object whose `__call__` is decorated
    return inner if callable(inner) else None
