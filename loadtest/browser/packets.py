"""Socket.IO v5 packets, as far as a load generator reads and writes them, and the acks that it waits for.

It reads what a server sends, where `sio_cluster.protocol.socketio` reads what a client sends. They share no code,
because the image of the load test holds this package alone.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

MAX_WAITING = 100_000
"""Acks that a browser waits for at once. With one more, the oldest is given up."""

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = b"0123456"

_PACKET = re.compile(rb"([0-6])(?:(\d{1,10})-)?(?:(/[^,]*)(?:,|$))?(\d{1,16})?(.*)", re.DOTALL)


class Packet(NamedTuple):
    """A packet without its attachments, which follow in messages of their own. `content` is JSON, not decoded."""

    kind: int
    namespace: str
    ack_id: int | None
    content: bytes


class Joined(msgspec.Struct):
    """The answer to CONNECT. `pid` is there where the server offers connection state recovery."""

    sid: str
    pid: str | None = None


def encode(kind: int, namespace: str, content: Any = None, ack_id: int | None = None) -> bytes:
    """A packet. Without `content`, there is no JSON behind its head."""
    prefix = b"" if namespace == "/" else namespace.encode() + b","
    number = b"" if ack_id is None else b"%d" % ack_id
    return b"%c%b%b%b" % (kind, prefix, number, b"" if content is None else msgspec.json.encode(content))


def encode_event(prefix: bytes, name: str, args: Sequence[Any], ack_id: int | None = None) -> bytes:
    """An EVENT whose `prefix` is `encode(EVENT, namespace)`."""
    number = b"" if ack_id is None else b"%d" % ack_id
    return prefix + number + msgspec.json.encode([name, *args])


def decode(packet: bytes) -> Packet | None:
    """None where `packet` is no Socket.IO packet."""
    match = _PACKET.fullmatch(packet)
    if match is None:
        return None
    kind, _, namespace, number, content = match.groups()
    return Packet(kind[0], (namespace or b"/").decode("utf-8", "replace"), int(number) if number else None, content)


def last_string(event: bytes) -> str | None:
    """The last argument of an EVENT if it is a string: the event's offset, for connection state recovery."""
    packet = decode(event)
    if packet is None:
        return None
    try:
        args = msgspec.json.decode(packet.content, type=list[Any])
    except msgspec.MsgspecError:
        return None
    return args[-1] if args and isinstance(args[-1], str) else None


Answered = Callable[[bytes | None], None]
"""Gets the ack's arguments as JSON, or None where the ack was given up."""


class Acks:
    """The acks that a browser waits for. Ids count up over the browser's whole life, as the official client's do.

    `given_up` counts acks that never came.
    """

    __slots__ = ("_next", "_waiting", "given_up")

    def __init__(self) -> None:
        self.given_up = 0
        self._next = 0
        self._waiting: dict[int, Answered] = {}

    def expect(self, answered: Answered) -> int:
        """The id to send with the event; `answered` gets its ack."""
        number = self._next
        self._next += 1
        self._waiting[number] = answered
        if len(self._waiting) > MAX_WAITING:
            self._give_up(next(iter(self._waiting)))
        return number

    def take(self, number: int, content: bytes) -> None:
        """An ack arrived. A late one, for which nobody waits any more, is dropped: `forget` counted it."""
        answered = self._waiting.pop(number, None)
        if answered is not None:
            answered(content)

    def forget(self, number: int) -> None:
        """Stops waiting for this ack. If it has not come, it counts as given up."""
        if self._waiting.pop(number, None) is not None:
            self.given_up += 1

    def give_up_all(self) -> None:
        for number in list(self._waiting):
            self._give_up(number)

    def _give_up(self, number: int) -> None:
        answered = self._waiting.pop(number)
        self.given_up += 1
        answered(None)
