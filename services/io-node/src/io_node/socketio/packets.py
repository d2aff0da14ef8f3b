"""Socket.IO v5 packets of clients: text and binary messages in, typed packets out. Pure.

The grammar is that of socket.io-protocol 5: `<type>[<attachments>-][<namespace>,][<ack id>][<JSON payload>]`.
What a packet may carry is checked here, at the door, and nowhere else; payloads are passed on as the JSON that the
client sent. Stricter than Socket.IO's own parser where that one lets through what no client sends: an EVENT or ACK
without payload, an ACK without id, an ack id of a CONNECT, fractional placeholders.
"""

import re
from typing import Any, TypeAlias, assert_never

import msgspec

from io_node.socketio.payloads import levels, load
from sio_cluster.protocol.errors import MalformedPacket

MAX_ACK_ID = 2**53 - 1
"""The largest whole number that a JavaScript client can count to."""

MAX_NAMESPACE_CHARS = 512
"""Namespaces are kept for as long as the connection lives, so their names are bounded."""

RESERVED_EVENTS = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Names that a client may not send: they would run the application's own life-cycle handlers."""


class Connect(msgspec.Struct, frozen=True):
    """Asks to join a namespace. `auth` is a JSON object or None."""

    namespace: str
    auth: bytes | None = None


class Disconnect(msgspec.Struct, frozen=True):
    """Leaves a namespace."""

    namespace: str


class Event(msgspec.Struct, frozen=True):
    """`data` is the JSON array `[name, arg, ...]`; `ack_id` is None where no answer is wanted."""

    namespace: str
    ack_id: int | None
    data: bytes
    attachments: list[bytes] = []


class Ack(msgspec.Struct, frozen=True):
    """The answer to an event of the server. `data` is the JSON array of its arguments."""

    namespace: str
    ack_id: int
    data: bytes
    attachments: list[bytes] = []


Packet: TypeAlias = Connect | Disconnect | Event | Ack


class PacketReader:
    """Puts the messages of one connection together to packets.

    Holds at most one packet that waits for its attachments: `max_attachments` of them, `max_payload_bytes` in all.
    Raises MalformedPacket; the reader is of no use afterwards, and its connection must close.
    """

    __slots__ = ("_attachments", "_bytes_left", "_max_attachments", "_max_payload_bytes", "_missing", "_packet")

    def __init__(self, max_attachments: int, max_payload_bytes: int) -> None:
        self._max_attachments = max_attachments
        self._max_payload_bytes = max_payload_bytes
        self._packet: Event | Ack | None = None
        self._missing = 0
        self._bytes_left = 0
        self._attachments: list[bytes] | None = None

    def feed(self, data: str | bytes) -> Packet | None:
        """The packet that this message completes, or None where attachments are still to come."""
        if isinstance(data, str):
            if self._missing:
                raise MalformedPacket(f"text where {self._missing} attachments are missing")
            packet, attachments = parse(data, self._max_attachments)
            if not attachments:
                return packet
            assert isinstance(packet, Event | Ack)
            self._packet, self._missing, self._attachments = packet, attachments, packet.attachments
            self._bytes_left = self._max_payload_bytes - len(packet.data)
            return None
        return self._attach(data)

    def _attach(self, data: bytes) -> Packet | None:
        if self._attachments is None:
            raise MalformedPacket("binary message that no packet announced")
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise MalformedPacket(f"packet and attachments exceed {self._max_payload_bytes} bytes")
        self._attachments.append(data)
        self._missing -= 1
        if self._missing:
            return None
        packet, self._packet, self._attachments = self._packet, None, None
        return packet


_PACKET = re.compile(r"([0-6])(?:([0-9]+)-)?(?:(/[^,]*),?)?([0-9]*)(.*)", re.DOTALL)


def parse(text: str, max_attachments: int) -> tuple[Packet, int]:
    """The packet of a text message, and how many attachments are to follow. Raises MalformedPacket only."""
    match = _PACKET.fullmatch(text)
    if match is None:
        raise MalformedPacket("unknown packet type")
    kind, count, namespace, ack, payload = match.groups()
    namespace = "/" if namespace is None else _namespace(namespace)
    ack_id = _ack_id(ack) if ack else None
    if kind == "2":
        _refuse_count(count)
        data, _ = _event_payload(payload)
        return Event(namespace, ack_id, data, []), 0
    if kind == "3":
        _refuse_count(count)
        data, _ = _ack_payload(ack_id, payload)
        assert ack_id is not None
        return Ack(namespace, ack_id, data, []), 0
    if kind == "5":
        data, value = _event_payload(payload)
        return Event(namespace, ack_id, data, []), _announced(count, max_attachments, value)
    if kind == "6":
        data, value = _ack_payload(ack_id, payload)
        assert ack_id is not None
        return Ack(namespace, ack_id, data, []), _announced(count, max_attachments, value)
    _refuse_count(count)
    if ack_id is not None:
        raise MalformedPacket("ack id where none may be")
    return _parse_control(kind, namespace, payload), 0


def encode(packet: Packet) -> str:
    """The text message of a client's packet; its attachments follow as binary messages. `parse` reads it back."""
    match packet:
        case Connect(namespace, auth):
            return f"0{_prefix(namespace)}{(auth or b'').decode()}"
        case Disconnect(namespace):
            return f"1{_prefix(namespace)}"
        case Event(namespace, ack_id, data, attachments):
            kind = f"5{len(attachments)}-" if attachments else "2"
            return f"{kind}{_prefix(namespace)}{'' if ack_id is None else ack_id}{data.decode()}"
        case Ack(namespace, ack_id, data, attachments):
            kind = f"6{len(attachments)}-" if attachments else "3"
            return f"{kind}{_prefix(namespace)}{ack_id}{data.decode()}"
        case _:
            assert_never(packet)


def encode_connected(namespace: str, sid: str) -> bytes:
    """The server's CONNECT packet: the client is in. A sid needs no escaping."""
    return f'0{_prefix(namespace)}{{"sid":"{sid}"}}'.encode()


def encode_connect_error(namespace: str, data: bytes) -> bytes:
    """CONNECT_ERROR: the client is refused. `data` is a JSON object."""
    return f"4{_prefix(namespace)}".encode() + data


def encode_disconnect(namespace: str) -> bytes:
    """The server's DISCONNECT packet, after which a client does not come back by itself."""
    return f"1{_prefix(namespace)}".encode()


def _prefix(namespace: str) -> str:
    return "" if namespace == "/" else f"{namespace},"


def _namespace(name: str) -> str:
    """Without a query, which clients of older protocols append."""
    name = name.partition("?")[0]
    if len(name) > MAX_NAMESPACE_CHARS:
        raise MalformedPacket(f"namespace of more than {MAX_NAMESPACE_CHARS} characters")
    return name


def _ack_id(digits: str) -> int:
    if len(digits) > 16 or int(digits) > MAX_ACK_ID:
        raise MalformedPacket("ack id beyond 2**53")
    return int(digits)


def _refuse_count(count: str | None) -> None:
    if count is not None:
        raise MalformedPacket("attachments where none may be")


def _parse_control(kind: str, namespace: str, payload: str) -> Connect | Disconnect:
    match kind:
        case "0":
            if not payload:
                return Connect(namespace)
            auth, value = load(payload)
            if not isinstance(value, dict):
                raise MalformedPacket("CONNECT payload is not an object")
            return Connect(namespace, auth)
        case "1":
            if payload:
                raise MalformedPacket("DISCONNECT with a payload")
            return Disconnect(namespace)
        case _:
            raise MalformedPacket("CONNECT_ERROR from a client")


def _event_payload(payload: str) -> tuple[bytes, list[Any]]:
    data, value = load(payload)
    if not isinstance(value, list) or not value:
        raise MalformedPacket("EVENT payload is not an array with a name")
    name = value[0]
    if isinstance(name, str):
        if name in RESERVED_EVENTS:
            raise MalformedPacket(f"reserved event name {name}")
    elif not isinstance(name, int | float) or isinstance(name, bool):
        raise MalformedPacket("event name is neither text nor a number")
    return data, value


def _ack_payload(ack_id: int | None, payload: str) -> tuple[bytes, list[Any]]:
    if ack_id is None:
        raise MalformedPacket("ACK without an id")
    data, value = load(payload)
    if not isinstance(value, list):
        raise MalformedPacket("ACK payload is not an array")
    return data, value


def _announced(count: str | None, max_attachments: int, value: list[Any]) -> int:
    """How many attachments follow. Every placeholder must name one of them."""
    if count is None or len(count) > 9:
        raise MalformedPacket("illegal number of attachments")
    attachments = int(count)
    if attachments > max_attachments:
        raise MalformedPacket(f"{attachments} attachments, at most {max_attachments} are allowed")
    for level in levels(value):
        for container in level:
            if isinstance(container, dict) and container.get("_placeholder") is True:
                number = container.get("num")
                if type(number) is not int or not 0 <= number < attachments:
                    raise MalformedPacket("placeholder names no attachment")
    return attachments
