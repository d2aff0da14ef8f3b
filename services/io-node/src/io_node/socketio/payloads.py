"""JSON payloads of clients: what reaches the bus is JSON (RFC 8259) that every receiver can read. Pure.

Refused besides what is no JSON at all: NaN and Infinity (some libraries write them, and they end the connections of
those who receive them), numbers beyond a double, nesting beyond `MAX_DEPTH`.
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
"""Arrays and objects inside each other. Deeper ones exhaust the stack of some receiver's JSON library."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_HUGE_NUMBER = re.compile(r"[0-9]{309}")
_decode = msgspec.json.Decoder().decode


def load(payload: str) -> tuple[bytes, JsonContainer]:
    """The payload's bytes, and what they say in Python's types. Raises MalformedPacket where it is not JSON."""
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
    if not isinstance(value, list | dict):
        raise MalformedPacket("payload is neither an array nor an object")
    if len(payload) > MAX_DEPTH:
        if _HUGE_NUMBER.search(payload) is not None:
            _refuse_huge_integers(value)
        if payload.count("[") + payload.count("{") > MAX_DEPTH:
            for _ in levels(value):
                pass
    return data, value


def levels(value: Any) -> Iterator[list[Any]]:
    """The arrays and objects of each level of nesting, outermost first. Raises MalformedPacket beyond MAX_DEPTH."""
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
    """JavaScript sends half of a surrogate pair as an escape, which is JSON (RFC 8259 section 8.2) but no Unicode."""
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
    """A whole number beyond a double is Infinity for JavaScript. (Fractions beyond it did not decode at all.)"""
    for level in levels(value):
        for container in level:
            for child in container.values() if isinstance(container, dict) else container:
                if isinstance(child, int) and abs(child) > sys.float_info.max:
                    raise MalformedPacket("number beyond a double")
