"""Puts the text and binary messages of one connection together to Socket.IO packets."""

from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.socketio import Ack, Event, Packet, parse


class PacketReader:
    """Reads one connection's messages.

    Bound: it holds at most one packet that waits for its attachments. Such a packet has at most `max_attachments` of
    them, and is at most `max_payload_bytes` long with them.

    Raises MalformedPacket. Afterwards the reader is of no use, and its connection must close.
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
        """The packet that this message completes. None where attachments are still to come."""
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
