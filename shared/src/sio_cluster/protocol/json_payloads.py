"""JSON payloads of clients. What passes here is JSON (RFC 8259) that every receiver can read. Pure.

Besides text that is no JSON, this module refuses:

- NaN and Infinity. Some libraries write them, and a JavaScript client that receives them closes its connection.
- numbers that do not fit into a double, such as 1e999;
- arrays and objects nested more than `MAX_DEPTH` deep.
"""

import json
import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn, TypeAlias

import msgspec

from sio_cluster.protocol.errors import MalformedPacket

JsonContainer: TypeAlias = list[Any] | dict[str, Any]

MAX_DEPTH = 200
"""How deep arrays and objects may be nested.

Deeper ones are more than some receiver can read. With its default recursion limit of 1,000, Python 3.11 reads 990
levels, but a handler can pass on 490 at most, since encoding takes two calls for each level. Rust's serde_json
stops at 128 by default.
"""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_HUGE_NUMBER = re.compile(r"[0-9]{309}")
_decode = msgspec.json.Decoder().decode


def load(payload: str) -> tuple[bytes, JsonContainer]:
    """The payload as UTF-8, and its value. Raises MalformedPacket unless it is a JSON array or object."""
    data, value = load_any(payload)
    if not isinstance(value, list | dict):
        raise MalformedPacket("payload is neither an array nor an object")
    return data, value


def load_any(payload: str) -> tuple[bytes, Any]:
    """The payload as UTF-8, and its value. Raises MalformedPacket unless it is JSON."""
    value: Any
    try:
        data = payload.encode()
        value = _decode(payload)
    except UnicodeEncodeError:
        raise MalformedPacket("text that is not Unicode") from None
    except RecursionError:
        raise MalformedPacket("payload nested too deeply") from None
    except msgspec.DecodeError as error:
        if _SURROGATE.search(payload) is None:
            raise MalformedPacket(f"invalid JSON: {error}") from None
        value = _load_with_lone_surrogates(payload)
    if len(payload) > MAX_DEPTH:
        if _HUGE_NUMBER.search(payload) is not None:
            _refuse_huge_integers(value)
        if isinstance(value, list | dict) and payload.count("[") + payload.count("{") > MAX_DEPTH:
            for _ in levels(value):
                pass
    return data, value


def levels(value: Any) -> Iterator[list[Any]]:
    """The arrays and objects of each level of nesting, the outermost first. Raises MalformedPacket below MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        yield level
        level = [
            child
            for container in level
            for child in (container.values() if isinstance(container, dict) else container)
            if isinstance(child, list | dict)
        ]
        if not level:
            return
    raise MalformedPacket("payload nested too deeply")


def _load_with_lone_surrogates(payload: str) -> Any:
    r"""Read JSON in which half of a surrogate pair is escaped, such as `"\ud83d"`.

    JavaScript sends that. It is JSON (RFC 8259 section 8.2) but no Unicode, so msgspec refuses it.
    """
    try:
        return json.loads(payload, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise MalformedPacket("payload nested too deeply") from None
    except ValueError as error:
        raise MalformedPacket(f"invalid JSON: {error}") from None


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedPacket(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise MalformedPacket("number beyond a double")
    return number


def _refuse_huge_integers(value: Any) -> None:
    """JavaScript reads an integer beyond a double as Infinity. (msgspec has already refused such fractions.)"""
    if not isinstance(value, list | dict):
        _refuse_huge_integer(value)
        return
    for level in levels(value):
        for container in level:
            for child in container.values() if isinstance(container, dict) else container:
                _refuse_huge_integer(child)


def _refuse_huge_integer(value: Any) -> None:
    if isinstance(value, int) and abs(value) > sys.float_info.max:
        raise MalformedPacket("number beyond a double")
