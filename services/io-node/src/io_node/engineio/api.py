"""Where the two halves of an io-node meet: Engine.IO below knows no namespaces, Socket.IO above knows no sockets.

Whoever uses Engine.IO gives it an `Accepter`, which makes a `ConnectionHandler` for each `Connection`. This is a whole
server, which sends every message back:

    import uvicorn

    from io_node.engineio.api import Connection, Outbound
    from io_node.engineio.server import EngineServer
    from sio_cluster.node.settings.config import Config

    class Echo:
        def __init__(self, connection: Connection) -> None:
            self.connection = connection

        def on_message(self, data: str | bytes) -> None:
            message = Outbound(data.encode()) if isinstance(data, str) else Outbound(None, [data])
            self.connection.send(message)

        def on_upgrade(self, transport: str) -> None:
            print("now on", transport)

        def on_close(self, reason: str) -> None:
            print("gone because of", reason)

    class EchoServer:
        def on_connection(self, connection: Connection) -> Echo:
            return Echo(connection)

    engine = EngineServer(Config(), EchoServer(), "echo-aaaaaa")
    uvicorn.run(engine.polling, http=engine.http_protocol, port=3000)
"""

import base64
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from io_node.engineio.wire.frames import BINARY, ws_frame
from sio_cluster.protocol.messages import Handshake
from sio_cluster.protocol.recovery import Position, encode_offset


class Outbound:
    """One message to any number of connections. Each encoding is built once, when the first connection needs it.

    `packet` is the text of a Socket.IO packet in UTF-8. It goes out as the Engine.IO message `4` + packet. None: there
    is no text, only attachments.
    `attachments` are the binary messages that directly follow it.
    A `volatile` message is dropped where a connection cannot write at once.
    `place` is where an event stands in the log from which a client that comes back is told what it missed. None: it
    stands in none.
    `size` is its length in bytes, in which bounds are counted.
    `twin` is the message as `with_offset` made it, None before.
    """

    __slots__ = ("_polling", "_ws", "attachments", "packet", "place", "size", "twin", "volatile")

    def __init__(
        self,
        packet: bytes | None,
        attachments: Sequence[bytes] = (),
        volatile: bool = False,
        place: Position | None = None,
    ) -> None:
        self.packet = packet
        self.attachments = attachments
        self.volatile = volatile
        self.place = place
        self.size = 0 if packet is None else len(packet) + 1
        if attachments:
            self.size += sum(map(len, attachments))
        self._ws: bytes | None = None
        self._polling: list[bytes] | None = None
        self.twin: Outbound | None = None

    def with_offset(self) -> "Outbound":
        """The message with its offset as the last argument: `2["news",1]` becomes `2["news",1,"AZHf..."]`.

        It is made once for all connections. A message without a place is its own twin.
        """
        if self.place is None or self.packet is None:
            return self
        if self.twin is None:
            packet = b'%b,"%b"]' % (self.packet[:-1], encode_offset(self.place))
            self.twin = Outbound(packet, self.attachments, self.volatile)
        return self.twin

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
        """The packets of a polling payload: `4...`, then `b<base64>` for each attachment."""
        packets = self._polling
        if packets is None:
            packets = self._polling = [] if self.packet is None else [b"4" + self.packet]
            packets.extend(b"b" + base64.b64encode(data) for data in self.attachments)
        return packets


class Bundle:
    """Messages for the same connections. To send it is to send each of them, in order, and costs little more than one.

    `size` is the length of all in bytes. `twin` is the bundle as `with_offset` made it, None before.
    """

    __slots__ = ("messages", "size", "twin")

    def __init__(self, messages: list[Outbound]) -> None:
        self.messages = messages
        self.size = sum([message.size for message in messages])
        self.twin: Bundle | None = None

    def with_offset(self) -> "Bundle":
        """The same with each message's offset. It is made once for all connections."""
        if self.twin is None:
            self.twin = Bundle([message.with_offset() for message in self.messages])
        return self.twin


Sendable: TypeAlias = Outbound | Bundle


class Connection(Protocol):
    """What the Socket.IO side sees of one Engine.IO connection. Not for use from other threads."""

    @property
    def id(self) -> str:
        """The Engine.IO sid. It is a secret of this client and this node, so it must not be written to the bus."""

    @property
    def handshake(self) -> Handshake:
        """The request that opened the connection."""

    @property
    def transport(self) -> str:
        """`polling` or `websocket`: what carries messages at this moment."""

    def send(self, message: Sendable) -> None:
        """Send in order. Never blocks, never raises. After `close` it does nothing.

        Messages of one tick leave together at its end. If the client takes nothing of what waits for PING_TIMEOUT_MS,
        the connection closes with `reasons.SLOW_CONSUMER`. It closes so too when more than DOWNLINK_BUFFER_BYTES wait
        in the node, and most of it for this client. A volatile message to a connection that cannot write at once is
        dropped and counted.
        """

    def send_with_offset(self, message: Sendable) -> None:
        """Send `message.with_offset()`, as `send` does."""

    def when_taken(self, callback: Callable[[], None]) -> None:
        """Call this once, when the transport has taken all that waits. Not at all if the connection closes before.

        Call it only after a `send`. The callback must not send: it is called from within the engine.
        """

    def keep(self, message: Outbound) -> None:
        """Count a message as one that waits for this connection, before it may be sent.

        `let_go` must be called for it, before it is sent or when it is dropped.
        """

    def let_go(self, message: Outbound) -> None:
        """The opposite of `keep`."""

    def close(self, reason: str) -> None:
        """Close once all that was sent is written. Idempotent. `on_close(reason)` comes in this tick or a later one."""

    def fail(self, reason: str) -> None:
        """Close at once: what was sent and is not written is dropped. Idempotent. `on_close` comes before it returns.

        Not from within `on_message`.
        """

    def overflow(self, why: str) -> None:
        """Too much waits for this client: close at once, with `reasons.SLOW_CONSUMER`. Otherwise as `fail`.

        It is counted by `why` (`EngineCounters.slow_consumers`).
        """

    def pause_reading(self) -> None:
        """Stop reading from the client, so that TCP pushes back. Idempotent.

        What the transport has already read still comes to `on_message`, and nothing else until `resume_reading`.
        """

    def resume_reading(self) -> None:
        """Read again. Idempotent."""


class ConnectionHandler(Protocol):
    """The Socket.IO side of one connection."""

    def on_message(self, data: str | bytes) -> None:
        """A text message without Engine.IO's `4`, or a binary message.

        Raises MalformedPacket: the engine then closes the connection with `reasons.PARSE_ERROR`, once all that was sent
        is written.
        """

    def on_upgrade(self, transport: str) -> None:
        """The connection moved to this transport."""

    def on_close(self, reason: str) -> None:
        """The connection is gone. `reason` is one of `protocol.reasons`. Called exactly once, as the last call."""


class Accepter(Protocol):
    """Lets connections in."""

    def on_connection(self, connection: Connection) -> ConnectionHandler | None:
        """A handler for this connection. None: the node takes no more, and the client gets HTTP 503.

        What is sent from within this call follows the Engine.IO open packet.
        """
