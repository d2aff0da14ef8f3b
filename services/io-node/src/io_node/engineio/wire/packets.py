"""Engine.IO v4 packets and polling payloads (docs/engine.io-protocol/v4-current.md of Socket.IO). Pure.

    packet    TYPE DATA            `4hello`, `2`, `3probe`
    payload   PACKET 0x1e PACKET   the body of a polling request or response

On a WebSocket each text frame is one packet, and a binary message is a binary frame. In a payload a binary message is
`b` and its base64.

MalformedPacket is raised for an empty packet, an unknown type, text that is not base64 after `b` (line ends in it do
not count), and bytes that are not UTF-8.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from io_node.engineio.wire.frames import ws_frame
from sio_cluster.protocol.errors import MalformedPacket

_SEPARATOR = "\x1e"


class Message(msgspec.Struct, frozen=True, gc=False):
    """Text, or the bytes of a binary message."""

    data: str | bytes


class Open(msgspec.Struct, frozen=True):
    """The first packet of a session. Only a server sends it."""


class Close(msgspec.Struct, frozen=True):
    """The client closes the session."""


class Ping(msgspec.Struct, frozen=True):
    """A client sends it only as `2probe`, on a WebSocket that probes."""

    data: str


class Pong(msgspec.Struct, frozen=True):
    """The answer to the server's PING."""

    data: str


class Upgrade(msgspec.Struct, frozen=True):
    """The WebSocket that probed takes over."""


class Noop(msgspec.Struct, frozen=True):
    """Says nothing. It ends a poll."""


Packet: TypeAlias = Message | Open | Close | Ping | Pong | Upgrade | Noop


class Control:
    """A packet of the engine itself, in both encodings. It has the attributes of `api.Outbound`: both share a queue."""

    __slots__ = ("polling_packets", "size", "ws_frames")

    def __init__(self, packet: bytes) -> None:
        self.polling_packets = [packet]
        self.ws_frames = ws_frame(packet)
        self.size = len(packet)


PING = Control(b"2")
PROBE_PONG = Control(b"3probe")
CLOSE = Control(b"1")
NOOP = Control(b"6")


def open_packet(
    sid: str, upgrades: Sequence[str], ping_interval_ms: int, ping_timeout_ms: int, max_payload_bytes: int
) -> Control:
    """The first packet of a session."""
    fields = {
        "sid": sid,
        "upgrades": list(upgrades),
        "pingInterval": ping_interval_ms,
        "pingTimeout": ping_timeout_ms,
        "maxPayload": max_payload_bytes,
    }
    return Control(b"0" + json.dumps(fields, separators=(",", ":")).encode())


def decode_packet(text: str) -> Packet:
    """One text frame, or one packet of a payload. Raises MalformedPacket."""
    match text[:1]:
        case "4":
            return Message(text[1:])
        case "b":
            return Message(_decode_base64(text[1:]))
        case "3":
            return Pong(text[1:])
        case "2":
            return Ping(text[1:])
        case "1":
            return Close()
        case "5":
            return Upgrade()
        case "6":
            return Noop()
        case "0":
            return Open()
        case "":
            raise MalformedPacket("empty packet")
        case _:
            raise MalformedPacket("unknown packet type")


def decode_payload(body: bytes) -> Iterator[Packet]:
    """The packets of a POST body, in order. Each is decoded when it is asked for.

    Raises MalformedPacket at once where the body is not UTF-8, else when it comes to a bad packet.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise MalformedPacket("payload is not UTF-8") from error
    return map(decode_packet, text.split(_SEPARATOR))


def encode_payload(packets: list[bytes]) -> bytes:
    """The body of a poll's response."""
    return b"\x1e".join(packets)


def _decode_base64(text: str) -> bytes:
    """Line ends do not count: the official Java client writes base64 in lines (RFC 2045 section 6.8)."""
    try:
        return base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
    except ValueError as error:  # binascii.Error, or characters beyond ASCII
        raise MalformedPacket("bad base64") from error
