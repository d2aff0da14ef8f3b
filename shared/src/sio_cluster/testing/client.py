"""A light client over WebSocket, for load under asyncio: thousands of them fit into one process.

    client = Client(print)
    await client.connect("http://127.0.0.1:8080")   # prints the open packet, b'0{"sid":"io1-...'
    client.send(b"40")                              # CONNECT to the namespace /; prints b'40{"sid":...'
    client.disconnect()

It speaks WebSocket and the heartbeats of Engine.IO. What it receives beyond that goes to a callback, packet by packet,
as bytes. So the caller decides what a packet means, and pays for nothing else: the chaos suite writes each one down,
the restart tests count acks, `make bench` counts deliveries.

Two clients stay apart, on purpose. The conformance tests (tests/conformance/raw.py) use the library `websockets`,
because it is not the one that an io-node is built on. The load tests (loadtest/browser) run on gevent, as locust does.
"""

import asyncio
from collections.abc import Callable

from picows import WSError, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

CONNECT_S = 10.0

__all__ = ["Client", "WSError"]


class Client(WSListener):
    """One Engine.IO connection over WebSocket, connected once.

    `on_packet(packet)` gets each text message but PING, which is answered here. The first is the open packet,
    `b'0{"sid":...'`. `on_close()` is called once: with the server's close frame, or when the connection ends without
    one. Nothing can be sent from then on. `closed` is set when the connection has ended. `query` is put at the end of
    the URL, such as `&recovery=1`.
    """

    def __init__(
        self, on_packet: Callable[[bytes], None], on_close: Callable[[], None] | None = None, *, query: str = ""
    ) -> None:
        self.closed = asyncio.Event()
        self._on_packet = on_packet
        self._on_close = on_close or _nothing
        self._query = query
        self._transport: WSTransport | None = None

    async def connect(self, url: str, within_s: float = CONNECT_S) -> None:
        """Connects to the server at `http://host:port`. `on_packet` may be called before this returns.

        Raises OSError, TimeoutError after `within_s`, or WSError where the server refuses.
        """
        address = f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket{self._query}"
        async with asyncio.timeout(within_s):
            await ws_connect(lambda: self, address)

    def send(self, packet: bytes) -> None:
        """Sends one text message. Without a connection it does nothing."""
        if self._transport is not None:
            self._transport.send(_TEXT, packet)

    def disconnect(self, *, flush: bool = True) -> None:
        """Ends the connection without a close frame. `flush`: what was sent before still goes out."""
        if self._transport is not None:
            self._transport.disconnect(graceful=flush)

    # what picows calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """The hot path of `make bench`: one call, one comparison and the callback for each message."""
        if frame.msg_type is _TEXT:
            packet = frame.get_payload_as_bytes()
            if packet == b"2":
                transport.send(_TEXT, b"3")
            else:
                self._on_packet(packet)
        elif frame.msg_type is WSMsgType.CLOSE:
            self._closing()
            transport.send_close(frame.get_close_code(), b"")
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._closing()
        self.closed.set()

    def _closing(self) -> None:
        on_close, self._on_close = self._on_close, _nothing
        on_close()


def _nothing() -> None:
    """The default of `on_close`."""


_TEXT = WSMsgType.TEXT
