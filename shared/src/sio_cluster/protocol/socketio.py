"""Socket.IO v5 packets: what a client may send, and how both services write packets. Pure.

A packet is one text message and the binary messages that follow it, its attachments. Its text (socket.io-protocol 5):

    <type>[<attachments>-][<namespace>,][<ack id>][<JSON payload>]

    2["hello",1]                                      EVENT in the namespace "/"
    2/chat,7["hello",1]                               EVENT in "/chat" that asks for the answer number 7
    3/chat,7["thanks"]                                ACK, the answer
    51-["picture",{"_placeholder":true,"num":0}]      BINARY_EVENT; one binary message follows

What a client's packet may carry is checked by `parse` and nowhere else. `parse` keeps the JSON text that the client
sent. It is stricter than Socket.IO's own parser about what no real client sends: an EVENT or ACK without a payload, an
ACK without an id, a placeholder with a fractional number. It takes any JSON as the auth of a CONNECT, as
python-socketio does; Socket.IO's own parser takes objects only.
"""

import json
import re
from typing import Any, TypeAlias, assert_never

import msgspec

from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.json_payloads import levels, load, load_any

MAX_ACK_ID = 2**53 - 1
"""The largest integer that JavaScript holds exactly (`Number.MAX_SAFE_INTEGER`)."""

MAX_NAMESPACE_CHARS = 512
"""An io-node keeps a namespace's name for as long as the connection lives, so its length is bounded."""

RESERVED_EVENTS = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Event names that a client may not send: they would run the application's own life-cycle handlers."""


class Connect(msgspec.Struct, frozen=True):
    """The client asks to join a namespace. `auth` is JSON of any kind, None where the client sent none."""

    namespace: str
    auth: bytes | None = None


class Disconnect(msgspec.Struct, frozen=True):
    """The client leaves a namespace."""

    namespace: str


class Event(msgspec.Struct, frozen=True):
    """`data` is the JSON array `[name, arg, ...]`. `ack_id` is None where the client wants no answer."""

    namespace: str
    ack_id: int | None
    data: bytes
    attachments: list[bytes] = []


class Ack(msgspec.Struct, frozen=True):
    """The client's answer to an event of the server. `data` is the JSON array of its arguments."""

    namespace: str
    ack_id: int
    data: bytes
    attachments: list[bytes] = []


Packet: TypeAlias = Connect | Disconnect | Event | Ack
"""What a client sends."""

_JSON = json.JSONDecoder()
_PACKET = re.compile(r"([0-6])(?:([0-9]+)-)?(?:(/[^,]*),?)?([0-9]*)(.*)", re.DOTALL)


def parse(text: str, max_attachments: int) -> tuple[Packet, int]:
    """The packet in a client's text message, and how many attachments are to follow. Raises MalformedPacket only."""
    match = _PACKET.fullmatch(text)
    if match is None:
        raise MalformedPacket("unknown packet type")
    kind, count, namespace, ack, payload = match.groups()
    namespace = "/" if namespace is None else _namespace(namespace)
    if kind == "0":
        _refuse_count(count)
        return _parse_connect(namespace, ack + payload), 0
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
    if kind == "4":
        raise MalformedPacket("CONNECT_ERROR from a client")
    if payload:
        raise MalformedPacket("DISCONNECT with a payload")
    return Disconnect(namespace), 0


def encode(packet: Packet) -> str:
    """The text of a client's packet. Its attachments follow as binary messages. `parse` reads it back."""
    match packet:
        case Connect(namespace, auth):
            return f"0{_prefix(namespace)}{(auth or b'').decode()}"
        case Disconnect(namespace):
            return encode_disconnect(namespace).decode()
        case Event(namespace, ack_id, data, attachments):
            return encode_event(namespace, data, len(attachments), ack_id).decode()
        case Ack(namespace, ack_id, data, attachments):
            return encode_ack(namespace, data, len(attachments), ack_id).decode()
        case _:
            assert_never(packet)


def encode_event(namespace: str, data: bytes, attachments: int, ack_id: int | None) -> bytes:
    """An EVENT, or a BINARY_EVENT where attachments follow. `data` is the JSON array `[name, arg, ...]`."""
    return _encode_with_payload(b"2", b"5", namespace, data, attachments, ack_id)


def encode_ack(namespace: str, data: bytes, attachments: int, ack_id: int) -> bytes:
    """An ACK, or a BINARY_ACK where attachments follow. `data` is the JSON array of the answer's arguments."""
    return _encode_with_payload(b"3", b"6", namespace, data, attachments, ack_id)


def encode_connected(namespace: str, sid: str, pid: str = "") -> bytes:
    """The server's CONNECT: the client has joined. Neither sid nor pid holds a character that JSON escapes.

    `pid`: by which the client may claim its session back. "" where it cannot.
    """
    if pid:
        return f'0{_prefix(namespace)}{{"sid":"{sid}","pid":"{pid}"}}'.encode()
    return f'0{_prefix(namespace)}{{"sid":"{sid}"}}'.encode()


def encode_connect_error(namespace: str, data: bytes) -> bytes:
    """CONNECT_ERROR: the client may not join. `data` is a JSON object."""
    return f"4{_prefix(namespace)}".encode() + data


def encode_disconnect(namespace: str) -> bytes:
    """DISCONNECT. A client that gets it from the server does not connect again by itself."""
    return f"1{_prefix(namespace)}".encode()


def event_name(data: bytes) -> str:
    """The name in an event's JSON array, for people who look at it: at most 100 characters, of the first 600 bytes.

    It is Unicode, which a name need not be: a half of a surrogate pair becomes a question mark.
    """
    head = data[1:600].decode(errors="replace").lstrip()
    try:
        name, _ = _JSON.raw_decode(head)
    except (ValueError, RecursionError):  # it is longer than that, or no name at all
        name = head.lstrip('"')
    return str(name)[:100].encode(errors="replace").decode()


def _encode_with_payload(
    plain: bytes, binary: bytes, namespace: str, data: bytes, attachments: int, ack_id: int | None
) -> bytes:
    head = b"%b%d-" % (binary, attachments) if attachments else plain
    if namespace != "/":
        head += namespace.encode() + b","
    if ack_id is not None:
        head += b"%d" % ack_id
    return head + data


def _prefix(namespace: str) -> str:
    return "" if namespace == "/" else f"{namespace},"


def _namespace(name: str) -> str:
    """The name without its query: clients of older protocols append one, such as `/chat?token=1`."""
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


def _parse_connect(namespace: str, payload: str) -> Connect:
    """`payload` begins where an ack id would stand. A CONNECT has none, so digits there begin a number as auth."""
    return Connect(namespace, load_any(payload)[0] if payload else None)


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
    """How many attachments follow. Raises MalformedPacket for a placeholder that names none of them."""
    if count is None or len(count) > 9:
        raise MalformedPacket("illegal number of attachments")
    attachments = int(count)
    if attachments == 0:
        raise MalformedPacket("a binary packet without attachments")
    if attachments > max_attachments:
        raise MalformedPacket(f"{attachments} attachments, at most {max_attachments} are allowed")
    for level in levels(value):
        for container in level:
            if isinstance(container, dict) and container.get("_placeholder") is True:
                number = container.get("num")
                if type(number) is not int or not 0 <= number < attachments:
                    raise MalformedPacket("placeholder names no attachment")
    return attachments
