"""Which arguments a handler takes, read from its signature once.

python-socketio finds this out by catching TypeError and calling again. So a handler that raises TypeError itself runs
twice there. Here it runs once, whatever it raises.
"""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, TypeAlias

Handler: TypeAlias = Callable[..., Any]

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a handler takes.

    `positional`: how many arguments it takes by position, without the two below; None: any number. `is_reconnect` and
    `is_redelivered`: whether it has a parameter of that name. `reconnect_at`: the position of `is_reconnect`, None
    where it is taken by name only.
    """

    positional: int | None
    is_reconnect: bool
    is_redelivered: bool
    reconnect_at: int | None


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
    try:
        parameters = list(inspect.signature(handler).parameters.values())
    except (TypeError, ValueError):
        return Signature(None, False, False, None)
    by_position = [p for p in parameters if p.kind in _POSITIONAL]
    named = {p.name for p in parameters if p.kind in (*_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)}
    reconnect_at = next((at for at, p in enumerate(by_position) if p.name == "is_reconnect"), None)
    variadic = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    keywords = {"is_reconnect", "is_redelivered"}
    return Signature(
        positional=None if variadic else sum(p.name not in keywords for p in by_position),
        is_reconnect="is_reconnect" in named,
        is_redelivered="is_redelivered" in named,
        reconnect_at=reconnect_at,
    )


def connect_arguments(
    signature: Signature, leading: tuple[Any, ...], environ: Any, auth: Any, is_reconnect: bool
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments of a `connect` handler. `leading` is (sid,), or (namespace, sid) for a catch-all namespace."""
    wanted = signature.positional
    with_auth = wanted is None or wanted > len(leading) + 1
    args = [*leading, environ, auth] if with_auth else [*leading, environ]
    if not signature.is_reconnect:
        return args, {}
    if signature.reconnect_at is not None and signature.reconnect_at <= len(args):
        args.insert(signature.reconnect_at, is_reconnect)
        return args, {}
    return args, {"is_reconnect": is_reconnect}


def disconnect_arguments(signature: Signature, leading: tuple[Any, ...], reason: str) -> list[Any]:
    """Arguments of a `disconnect` handler. Those written for python-socketio before 5.12 take no reason."""
    wanted = signature.positional
    return [*leading, reason] if wanted is None or wanted > len(leading) else [*leading]


async def run(handler: Handler, args: Any, keywords: dict[str, Any] | None = None) -> Any:
    """Calls a handler once. A plain function runs right here, as in python-socketio; a coroutine is awaited."""
    result = handler(*args, **keywords) if keywords else handler(*args)
    return await result if is_awaitable(result) else result


def raise_if_cancelled() -> None:
    """To be called where a handler raised CancelledError. Raises it again if we cancelled the running task.

    Else the handler cancelled itself, and counts as ended, as in python-socketio.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def is_awaitable(result: Any) -> bool:
    """Like inspect.isawaitable, and quicker."""
    return type(result) is CoroutineType or hasattr(result, "__await__")
