"""Reads what other libraries wrote, and believes nothing."""

import datetime
import json
from typing import Any, TypeVar

import msgspec

from app_node.bridge.requests import Refused

_T = TypeVar("_T")


def from_json(data: bytes) -> Any:
    """Any JSON. NaN and the infinities too, which Python writes, and lone surrogates, which JavaScript writes."""
    try:
        try:
            return msgspec.json.decode(data)
        except msgspec.DecodeError:
            return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Refused("malformed", f"it is no JSON: {error}") from error


def from_msgpack(data: bytes) -> Any:
    """What notepack.io and @msgpack/msgpack write. `undefined` becomes None, as in JSON; a Date its ISO text."""
    try:
        return _plain(msgspec.msgpack.decode(data, ext_hook=_extension))
    except (ValueError, RecursionError, OverflowError) as error:
        raise Refused("malformed", f"it is no MessagePack: {error}") from error


def checked(value: Any, kind: type[_T]) -> _T:
    """The value as this struct. Refused where a field is missing, or of another type."""
    try:
        return msgspec.convert(value, kind)
    except (ValueError, RecursionError) as error:
        raise Refused("malformed", str(error)) from error


def as_namespace(name: str) -> str:
    """With the slash that Socket.IO puts before each name."""
    return name if name.startswith("/") else f"/{name}"


def _extension(code: int, data: memoryview) -> Any:
    if code == 0:  # notepack.io's `undefined`
        return None
    raise ValueError(f"unknown extension {code}")


def _plain(value: Any) -> Any:
    """The same value with text for each Date: JavaScript's JSON has it so."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
