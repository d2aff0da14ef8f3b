"""Calls handlers with the arguments that they take.

python-socketio finds out what a handler takes by catching TypeError and calling it again. So a handler that raises
TypeError itself runs twice there. Here the signature tells, and the handler runs once. Only `*args` tells nothing: such
a handler is called as in python-socketio, first with every argument, then without the last one.
"""

import inspect
from collections.abc import Mapping
from types import CoroutineType
from typing import Any

from app_node.handlers.signatures import Handler, Signature


async def call_connect(
    handler: Handler,
    signature: Signature,
    leading: tuple[Any, ...],
    environ: Any,
    auth: Any,
    flags: Mapping[str, bool],
) -> Any:
    """Calls a `connect` handler. `leading` is (sid,), or (namespace, sid) for a catch-all namespace. `flags`: the value
    of each of CONNECT_FLAGS.

    One that takes `*args` is called again without `auth` only if the client sent none. Otherwise a client could get
    around what looks at its `auth`.
    """
    args, keywords = connect_arguments(signature, leading, environ, auth, flags)
    if signature.positional is not None or auth:
        return await run(handler, args, keywords)
    return await _run_with_or_without_last(handler, args, keywords)


async def call_disconnect(handler: Handler, signature: Signature, leading: tuple[Any, ...], reason: str) -> Any:
    """Calls a `disconnect` handler. Those written for python-socketio before 5.12 take no reason."""
    wanted = signature.positional
    if wanted is None:
        return await _run_with_or_without_last(handler, [*leading, reason])
    return await run(handler, [*leading, reason] if wanted > len(leading) else leading)


def connect_arguments(
    signature: Signature, leading: tuple[Any, ...], environ: Any, auth: Any, flags: Mapping[str, bool]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments and keywords of a `connect` handler: those that it takes, and all of them if it takes `*args`."""
    wanted = signature.positional
    with_auth = wanted is None or wanted > len(leading) + 1
    args = [*leading, environ, auth] if with_auth else [*leading, environ]
    keywords = {name: flags[name] for name in signature.flags}
    for at, name in signature.flags_at:
        if at <= len(args):
            args.insert(at, keywords.pop(name))
    return args, keywords


async def run(handler: Handler, args: Any, keywords: dict[str, Any] | None = None) -> Any:
    """Calls a handler once. A plain function runs right here, as in python-socketio; a coroutine is awaited."""
    result = handler(*args, **keywords) if keywords else handler(*args)
    return await result if is_awaitable(result) else result


def is_awaitable(result: Any) -> bool:
    """Like inspect.isawaitable, and quicker."""
    return type(result) is CoroutineType or hasattr(result, "__await__")


async def _run_with_or_without_last(handler: Handler, args: list[Any], keywords: dict[str, Any] | None = None) -> Any:
    """Calls a handler that takes `*args`, and calls it again without the last one if it does not take that many."""
    try:
        return await run(handler, args, keywords)
    except TypeError as error:
        if not _refuses_arguments(error):
            raise
        refusal = error
    try:
        return await run(handler, args[:-1], keywords)
    except TypeError as error:
        if _refuses_arguments(error):
            raise refusal from None
        raise


def _refuses_arguments(error: TypeError) -> bool:
    """Whether a function with `*args` raised this itself, as it does if the function inside takes fewer arguments.

    The error of a function that has begun to run comes from deeper. It is an error like any other.
    """
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return False
    code = innermost.tb_frame.f_code
    return code is run.__code__ or bool(code.co_flags & inspect.CO_VARARGS)
