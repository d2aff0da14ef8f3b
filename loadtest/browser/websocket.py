"""The WebSocket transport of one Engine.IO session: each packet is one frame (RFC 6455)."""

import base64
import hashlib
import random
from collections.abc import Callable

from loadtest.browser.connection import Connection, Traffic
from loadtest.browser.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameError, FrameReader, Inflate, masked
from loadtest.browser.http import HttpError, Response, ResponseReader
from loadtest.browser.hub import Alarm
from loadtest.browser.site import Site

CLOSE_TIMEOUT_S = 5.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocket:
    """A transport that is opened once.

    It calls `opened()`, `packet(packet)` for each text message, and `lost(reason, why)` once if it ends by itself.
    `reason` is the official client's word: `transport close` after an orderly end, else `transport error`. After
    `close`, `drop` or `abandon` it calls nothing.
    """

    name = "websocket"

    def __init__(
        self,
        site: Site,
        traffic: Traffic,
        rng: random.Random,
        opened: Callable[[], None],
        packet: Callable[[bytes], None],
        lost: Callable[[str, str], None],
    ) -> None:
        self._site = site
        self._rng = rng
        self._opened = opened
        self._lost = lost
        self._request = b""
        self._key = base64.b64encode(rng.randbytes(16))
        self._head: ResponseReader | None = ResponseReader()
        self._reader = FrameReader(packet, self._other)
        self._connection = Connection(traffic, self._connected, self._received, self._ended)
        self._closing: Alarm | None = None
        self._up = False

    @property
    def frames(self) -> int:
        return self._reader.frames

    def open(self, query: str) -> None:
        self._request = self._site.request(
            "GET",
            query,
            (
                ("Connection", "Upgrade"),
                ("Upgrade", "websocket"),
                ("Sec-WebSocket-Version", "13"),
                ("Sec-WebSocket-Key", self._key.decode()),
                ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
                ("Pragma", "no-cache"),
                ("Cache-Control", "no-cache"),
            ),
        )
        self._connection.open(self._site.host, self._site.port, self._site.tls)

    def deliver_to(self, packet: Callable[[bytes], None]) -> None:
        """Packets go to this callback from now on."""
        self._reader.text = packet

    def send(self, packet: bytes) -> None:
        self._connection.write(masked(TEXT, packet, self._rng.randbytes(4)))

    def pause(self) -> None:
        self._connection.pause()

    def resume(self) -> None:
        self._connection.resume()

    def close(self) -> None:
        """Sends a close frame and lets the server end the connection, for CLOSE_TIMEOUT_S at most."""
        self._reader.stop()
        if not self._up:
            self._connection.close()
        elif self._closing is None:
            self._closing = Alarm()
            self._connection.write(masked(CLOSE, b"", self._rng.randbytes(4)))
            self._connection.resume()
            self._closing.set(CLOSE_TIMEOUT_S, self._connection.close)

    def drop(self) -> None:
        """Closes the connection at once."""
        self._reader.stop()
        if self._closing is not None:
            self._closing.clear()
        self._connection.close()

    def abandon(self, keep_s: float) -> None:
        self._reader.stop()
        self._connection.abandon(keep_s)

    def _connected(self) -> None:
        self._connection.write(self._request)

    def _received(self, data: bytes) -> None:
        if self._closing is not None:
            return  # after our close frame only the end of the connection matters
        if self._head is not None:
            rest = self._upgraded(self._head, data)
            if not rest:
                return
            data = rest
        try:
            self._reader.feed(data)
        except FrameError as error:
            self._fail(str(error))

    def _upgraded(self, reader: ResponseReader, data: bytes) -> bytes:
        """Goes on with the handshake. Returns the bytes behind it, once it has succeeded."""
        try:
            response = reader.feed(data)
            if response is None:
                return b""
            self._accept(response)
        except (HttpError, FrameError) as error:
            self._fail(str(error))
            return b""
        self._head, self._up = None, True
        self._opened()
        return reader.rest

    def _accept(self, response: Response) -> None:
        self._site.keep_cookies(response.cookies)
        if response.status != 101:
            raise FrameError(f"status {response.status}")
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID).digest()).decode()
        if response.headers.get("sec-websocket-accept") != accept:
            raise FrameError("a wrong Sec-WebSocket-Accept")
        extension = response.headers.get("sec-websocket-extensions", "")
        if "permessage-deflate" in extension:
            self._reader.use(Inflate(takeover="server_no_context_takeover" not in extension))

    def _other(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self._connection.write(masked(PONG, payload, self._rng.randbytes(4)))
        elif opcode == CLOSE:
            self._connection.write(masked(CLOSE, payload[:2], self._rng.randbytes(4)))
            code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 1005
            self._give_up("transport close", f"WebSocket close code {code}")
        elif opcode == BINARY:
            self._reader.text(b"b")  # an attachment: it only counts, nobody reads its content

    def _ended(self, why: str) -> None:
        if self._closing is not None:
            self._closing.clear()
            return
        orderly = self._up and why == "closed by the server"
        self._give_up("transport close" if orderly else "transport error", why)

    def _fail(self, why: str) -> None:
        self._give_up("transport error", why)

    def _give_up(self, reason: str, why: str) -> None:
        self._reader.stop()
        self._connection.close()
        self._lost(reason, why)
