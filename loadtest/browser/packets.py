"""Socket.IO v5 packets, as far as a load generator needs to read and write them."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = b"0123456"

_PACKET = re.compile(rb"([0-6])(?:(\d{1,10})-)?(?:(/[^,]*)(?:,|$))?(\d{1,16})?(.*)", re.DOTALL)


class Packet(NamedTuple):
    """`content` is JSON, not decoded. Attachments come in messages of their own."""

    kind: int
    namespace: str
    ack_id: int | None
    content: bytes


class Joined(msgspec.Struct):
    """What CONNECT is answered with. `pid` where the server recovers connections."""

    sid: str
    pid: str | None = None


def encode(kind: int, namespace: str, content: Any = None, ack_id: int | None = None) -> bytes:
    """`content` None leaves it out."""
    prefix = b"" if namespace == "/" else namespace.encode() + b","
    number = b"" if ack_id is None else b"%d" % ack_id
    return b"%c%b%b%b" % (kind, prefix, number, b"" if content is None else msgspec.json.encode(content))


def encode_event(prefix: bytes, name: str, args: Sequence[Any], ack_id: int | None = None) -> bytes:
    """An EVENT whose `prefix` is `encode(EVENT, namespace)`."""
    number = b"" if ack_id is None else b"%d" % ack_id
    return prefix + number + msgspec.json.encode([name, *args])


def decode(packet: bytes) -> Packet | None:
    """None for what is no packet."""
    match = _PACKET.fullmatch(packet)
    if match is None:
        return None
    kind, _, namespace, number, content = match.groups()
    return Packet(kind[0], (namespace or b"/").decode("utf-8", "replace"), int(number) if number else None, content)


def last_string(event: bytes) -> str | None:
    """The last argument of an EVENT where it is a string: its offset, for connection state recovery."""
    packet = decode(event)
    if packet is None:
        return None
    try:
        args = msgspec.json.decode(packet.content, type=list[Any])
    except msgspec.MsgspecError:
        return None
    return args[-1] if args and isinstance(args[-1], str) else None
