"""Sessions as bytes: msgpack and never pickle, so that reading one runs no code."""

from typing import Any

import msgspec

_SCALARS = frozenset((str, int, float, bool, bytes, type(None)))


def encode_session(session: Any) -> bytes:
    """Takes what JSON knows, and bytes. Raises TypeError, which says what is wrong, for all else.

    What is a kind of dict, list, tuple, str, int, float or bytes comes back as the plain thing: an OrderedDict as a
    dict, a tuple as a list, an IntEnum as an int.
    """
    try:
        return msgspec.msgpack.encode(_plain(session))
    except OverflowError as error:
        raise TypeError("a session holds whole numbers of at most 64 bits") from error
    except UnicodeEncodeError as error:
        raise TypeError("a session holds no text with half of a surrogate pair") from error
    except RecursionError as error:
        raise TypeError("a session is nested too deeply, or holds itself") from error


def decode_session(data: bytes) -> Any:
    """What `encode_session` made."""
    return msgspec.msgpack.decode(data)


def _plain(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, dict):
        return {_plain_scalar(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    """The value itself, without the class that it may have on top: an enum's name is not what is stored."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__index__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(memoryview(value))
    raise TypeError(f"a session outlasts its app-node, and so cannot hold a {type(value).__name__}")
