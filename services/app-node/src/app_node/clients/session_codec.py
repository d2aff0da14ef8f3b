"""Sessions as bytes: msgpack and never pickle, so that reading one runs no code."""

from typing import Any

import msgspec

_SCALARS = frozenset((str, int, float, bool, bytes, type(None)))


def encode_session(session: Any) -> bytes:
    """Takes what JSON knows, and bytes. A tuple comes back as a list. TypeError, which names the type, for others."""

    _check(session)
    try:
        return msgspec.msgpack.encode(session)
    except OverflowError as error:
        raise TypeError("a session holds whole numbers of at most 64 bits") from error


def decode_session(data: bytes) -> Any:
    """What `encode_session` made."""
    return msgspec.msgpack.decode(data)


def _check(value: Any) -> None:
    kind = type(value)
    if kind in _SCALARS:
        return
    if kind in (list, tuple):
        for item in value:
            _check(item)
    elif kind is dict:
        for key, item in value.items():
            _check(key)
            _check(item)
    else:
        raise TypeError(f"a session outlasts its app-node, and so cannot hold a {kind.__name__}: {value!r}")
