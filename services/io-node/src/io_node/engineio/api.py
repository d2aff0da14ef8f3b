"""Where the two halves of an io-node meet: Engine.IO below knows no namespaces, Socket.IO above knows no sockets."""

import base64
from collections.abc import Sequence
from typing import Protocol

from sio_cluster.protocol.messages import Handshake

TEXT = 0x81  # FIN and opcode 1 (RFC 6455 section 5.2)
BINARY = 0x82  # FIN and opcode 2


class Outbound:
    """One message to any number of connections. Each encoding is built once, by the first connection that needs it.

    `packet` is a Socket.IO packet text in UTF-8; it goes out as Engine.IO message `4` + packet (None: no text, only
    attachments). `attachments` are the binary messages that follow it directly. A `volatile` message is dropped where
    a connection cannot write at once. `size` is the length in bytes that bounds are counted in.
    """

    __slots__ = ("_polling", "_ws", "attachments", "packet", "size", "volatile")

    def __init__(self, packet: bytes | None, attachments: Sequence[bytes] = (), volatile: bool = False) -> None:
        self.packet = packet
        self.attachments = attachments
        self.volatile = volatile
        self.size = 0 if packet is None else len(packet) + 1
        if attachments:
            self.size += sum(map(len, attachments))
        self._ws: bytes | None = None
        self._polling: list[bytes] | None = None

    @property
    def ws_frames(self) -> bytes:
        """Complete WebSocket frames from server to client, text first, ready for one `write()`."""
        frames = self._ws
        if frames is None:
            frames = b"" if self.packet is None else ws_frame(b"4" + self.packet)
            if self.attachments:
                frames += b"".join(ws_frame(data, BINARY) for data in self.attachments)
            self._ws = frames
        return frames

    @property
    def polling_packets(self) -> list[bytes]:
        """The packets of a polling payload, `4...` and `b<base64>`; a payload joins them by 0x1e."""
        packets = self._polling
        if packets is None:
            packets = self._polling = [] if self.packet is None else [b"4" + self.packet]
            packets.extend(b"b" + base64.b64encode(data) for data in self.attachments)
        return packets


class Connection(Protocol):
    """What the Socket.IO side sees of one Engine.IO connection. Not for use from other threads."""

    @property
    def id(self) -> str:
        """The Engine.IO sid. It is a secret between this client and this node: it never leaves for the bus."""

    @property
    def handshake(self) -> Handshake:
        """The request that opened the connection."""

    @property
    def transport(self) -> str:
        """`polling` or `websocket`: what carries messages at this moment."""

    def send(self, message: Outbound) -> None:
        """Send in order. Never blocks, never raises; after `close` it does nothing.

        Messages of one tick leave together at its end. A message that finds others waiting and makes them more than
        SEND_BUFFER_BYTES closes the connection with `reasons.SLOW_CONSUMER`. A volatile message to a connection that
        is not writable is dropped and counted.
        """

    def close(self, reason: str) -> None:
        """Close after what was sent is written. Idempotent. `on_close(reason)` comes in this tick or a later one."""

    def pause_reading(self) -> None:
        """Stop reading from the client, so that TCP pushes back: no `on_message` until `resume_reading`,
        except for what the transport has already read. Idempotent."""

    def resume_reading(self) -> None:
        """Read again. Idempotent."""


class ConnectionHandler(Protocol):
    """The Socket.IO side of one connection."""

    def on_message(self, data: str | bytes) -> None:
        """A text message without Engine.IO's `4`, or a binary message.

        Raises MalformedPacket: the engine then closes the connection with `reasons.PARSE_ERROR`.
        """

    def on_upgrade(self, transport: str) -> None:
        """The connection moved to this transport."""

    def on_close(self, reason: str) -> None:
        """The connection is gone, `reason` is one of `protocol.reasons`. Called exactly once, and last of all."""


class Accepter(Protocol):
    """Lets connections in."""

    def on_connection(self, connection: Connection) -> ConnectionHandler | None:
        """A handler for this connection, or None where the node takes no more: the client gets HTTP 503.

        The Engine.IO open packet is written before whatever is sent from within this call.
        """


def ws_frame(payload: bytes, first_byte: int = TEXT) -> bytes:
    """One unmasked frame, from server to client (RFC 6455 section 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((first_byte, size)) + payload
    if size < 65536:
        return bytes((first_byte, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first_byte, 127)) + size.to_bytes(8, "big") + payload
