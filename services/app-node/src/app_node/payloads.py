"""Turns event arguments into JSON with attachments, and back (Socket.IO protocol v5, "Packet encoding").

    encode(["news", {"n": 1}])                 # Payload(text=b'["news",{"n":1}]', attachments=[])
    encode(["image", b"\\xff"])                 # bytes become attachments, with a placeholder in the text
    decode(b'["news",{"n":1}]')                # ["news", {"n": 1}]

Encoding takes what python-socketio takes: None, bool, int, float, str, bytes, bytearray, and lists, tuples and dicts of
them. Anything else raises TypeError. NaN and the infinities become null, as in JavaScript, since no client can read
them.
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import msgspec

from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.socketio import RESERVED_EVENTS


class JsonModule(Protocol):
    """What python-socketio's `json=` option takes: a module with these two functions of the standard library."""

    dumps: Callable[..., str]
    loads: Callable[..., Any]


CLIENTS_TAKE_ATTACHMENTS = 10
"""The official JavaScript client closes its connection at a packet with more (socket.io-parser, `maxAttachments`)."""

ANY_ATTACHMENTS = sys.maxsize
"""For what no client gets."""


@dataclass(slots=True)
class Payload:
    """JSON text, and its binary attachments. In the text a placeholder with its number stands for each."""

    text: bytes
    attachments: list[bytes]


def arguments(data: Any) -> list[Any]:
    """The arguments that `emit`'s data or a handler's result stands for: a tuple is several, None is none."""
    if isinstance(data, tuple):
        return list(data)
    return [] if data is None else [data]


def encode_event_of(
    name: Any, data: Any, json_module: JsonModule | None = None, max_attachments: int = CLIENTS_TAKE_ATTACHMENTS
) -> Payload:
    """What clients get as the event `name` with `emit`'s data. Raises as `encode`.

    Also raises for a name at which all that receive it would disconnect: TypeError where it is neither a str nor an
    int, ValueError where Socket.IO reserves it.
    """
    if not isinstance(name, (str, int)) or isinstance(name, bool):
        raise TypeError(f"the name of an event is a str, not {type(name).__name__}: clients would disconnect")
    if name in RESERVED_EVENTS:
        raise ValueError(f"{name!r} is a reserved event name: clients would disconnect")
    return encode([name, *arguments(data)], json_module, max_attachments)


def encode(
    values: list[Any], json_module: JsonModule | None = None, max_attachments: int = CLIENTS_TAKE_ATTACHMENTS
) -> Payload:
    """The values as a JSON array with attachments.

    Raises TypeError for a type that JSON does not know, and RecursionError for a value that is nested too deeply.
    Raises ValueError for what would disconnect all that receive it: more than `max_attachments` binary values, or a
    dict that looks like a placeholder (such as one that a client sent) together with binary data.
    """
    if json_module is None and _is_plain(values):
        try:
            return Payload(_fast_encode(values), [])
        except (UnicodeEncodeError, OverflowError, msgspec.MsgspecError):
            pass  # a lone surrogate, or a huge number: the standard library writes both
    payload = _encode_slowly(values, json_module)
    if payload.attachments and payload.text.count(_PLACEHOLDER) > len(payload.attachments):
        raise ValueError("a dict with _placeholder: True cannot be sent together with binary data")
    if len(payload.attachments) > max_attachments:
        raise ValueError(
            f"{len(payload.attachments)} binary values in one packet: clients take {max_attachments}, and disconnect "
            "for more; join them, or send several packets (MAX_ATTACHMENTS says what your clients take)"
        )
    return payload


def decode(data: bytes, attachments: Sequence[bytes] = (), json_module: JsonModule | None = None) -> list[Any]:
    """The JSON array in `data` with its attachments put back. Raises MalformedPacket."""
    values = _decode_text(data, json_module)
    if not isinstance(values, list):
        raise MalformedPacket("the payload is not an array")
    if not attachments:
        return values
    try:
        return [_restore(value, attachments) for value in values]
    except (IndexError, TypeError, RecursionError) as error:
        raise MalformedPacket("a placeholder names no attachment") from error


def encode_any(value: Any, json_module: JsonModule | None = None) -> bytes:
    """One value as JSON, such as the payload of a refusal. Raises as `encode`, and TypeError for binary data."""
    payload = encode([value], json_module)
    if payload.attachments:
        raise TypeError("binary data has no place in this packet")
    return payload.text[1:-1]


def decode_any(data: bytes, json_module: JsonModule | None = None) -> Any:
    """Any JSON value, such as a client's auth. Raises MalformedPacket."""
    return _decode_text(data, json_module)


_fast_encode = msgspec.json.Encoder().encode
_fast_decode = msgspec.json.Decoder().decode
_PLACEHOLDER = b'"_placeholder":true'
_SCALARS = frozenset((str, int, float, bool, type(None)))
_TEXT = frozenset((str,))
_MOST_LEVELS = 1_000
"""How deep the functions below go into a value: as deep as Python does by default.

Compiled, they would go on until the process crashes, since Python does not count their calls.
"""


def _is_plain(value: Any) -> bool:
    """Whether msgspec writes what the standard library would: it knows more types, and writes bytes as base64."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is list:
        return _SCALARS.issuperset(map(type, value)) or all(map(_is_plain, value))
    if kind is dict:
        return _TEXT.issuperset(map(type, value)) and (
            _SCALARS.issuperset(map(type, value.values())) or all(map(_is_plain, value.values()))
        )
    return False


def _encode_slowly(values: list[Any], json_module: JsonModule | None) -> Payload:
    attachments: list[bytes] = []

    def stand_in(value: Any) -> Any:
        if isinstance(value, (bytes, bytearray, memoryview)):
            attachments.append(bytes(value))
            return {"_placeholder": True, "num": len(attachments) - 1}
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")

    if json_module is not None:
        text = json_module.dumps(_extract(values, stand_in), separators=(",", ":"))
        return Payload(_without_nan(text), attachments)
    try:
        text = json.dumps(values, separators=(",", ":"), allow_nan=False, default=stand_in)
    except ValueError:  # NaN, an infinity, or a reference to itself; the last raises again
        attachments.clear()
        text = json.dumps(_finite(values), separators=(",", ":"), allow_nan=False, default=stand_in)
    return Payload(text.encode(), attachments)


def _extract(value: Any, stand_in: Callable[[Any], Any], levels: int = _MOST_LEVELS) -> Any:
    """The same value with `stand_in(value)` for each binary value: a foreign JSON module may not know `default`.

    Raises RecursionError where it contains itself, or is nested too deeply.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return stand_in(value)
    if isinstance(value, (list, tuple)):
        below = _level_below(levels)
        return [_extract(item, stand_in, below) for item in value]
    if isinstance(value, dict):
        below = _level_below(levels)
        return {key: _extract(item, stand_in, below) for key, item in value.items()}
    return value


def _without_nan(text: str | bytes) -> bytes:
    """What a foreign JSON module wrote, as bytes. Raises ValueError where a client could not read it."""
    data = text.encode() if isinstance(text, str) else bytes(text)
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except msgspec.DecodeError:
        try:
            json.loads(data, parse_constant=_refuse)
        except ValueError as error:
            raise ValueError("the json module given wrote what is not JSON") from error
    return data


def _finite(value: Any, levels: int = _MOST_LEVELS) -> Any:
    """The same value with None for NaN and the infinities. Raises RecursionError as `_extract`."""

    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, (list, tuple)):
        below = _level_below(levels)
        return [_finite(item, below) for item in value]
    if isinstance(value, dict):
        below = _level_below(levels)
        return {_finite_key(key): _finite(item, below) for key, item in value.items()}
    return value


def _level_below(levels: int) -> int:
    """How many levels there may be below this one. Raises RecursionError where there may be none."""
    if levels == 0:
        raise RecursionError("the value contains itself, or is nested too deeply")
    return levels - 1


def _finite_key(key: Any) -> Any:
    return "null" if isinstance(key, float) and key - key != 0 else key


def _decode_text(data: bytes, json_module: JsonModule | None) -> Any:
    if json_module is not None:
        try:
            return json_module.loads(data.decode())
        except Exception as error:  # whatever that module raises for text that it cannot read
            raise MalformedPacket("the payload is not what the json module given can read") from error
    try:
        try:
            return _fast_decode(data)
        except msgspec.DecodeError:  # such as an escaped lone surrogate, which JavaScript clients may send
            return json.loads(data, parse_constant=_refuse, parse_float=_finite_float)
    except (ValueError, RecursionError) as error:
        raise MalformedPacket("the payload is not JSON") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _finite_float(text: str) -> float:
    number = float(text)
    return number if number - number == 0 else _refuse(text)


def _restore(value: Any, attachments: Sequence[bytes], levels: int = _MOST_LEVELS) -> Any:
    """The same value with its attachments put back. Raises RecursionError as `_extract`."""
    if isinstance(value, list):
        below = _level_below(levels)
        return [_restore(item, attachments, below) for item in value]
    if isinstance(value, dict):
        if value.get("_placeholder") is True and "num" in value:
            number = value["num"]
            if type(number) is not int or number < 0:
                raise IndexError(number)
            return attachments[number]
        below = _level_below(levels)
        return {key: _restore(item, attachments, below) for key, item in value.items()}
    return value
