"""The WebSocket transport of one Engine.IO session: packets in, packets out, one frame each (RFC 6455)."""

import base64
import hashlib
import random
from collections.abc import Callable

from loadtest.browser.alarm import Alarm
from loadtest.browser.frames import BINARY, CLOSE, PING, PONG, TEXT, FrameError, FrameReader, Inflate, masked
from loadtest.browser.http import HttpError, Response, ResponseReader
from loadtest.browser.link import Link, Traffic
from loadtest.browser.site import Site

CLOSE_TIMEOUT_S = 5.0
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class WebSocket:
    """Opened once. `opened()`, `packet(packet)` for each text message, `lost(reason, why)` once when it ends unasked.

    `reason` is the official client's word: `transport close` after an orderly end, `transport error` else. After
    `close`, `drop` or `abandon` nothing is called.
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
        self._head: ResponseReader | None = ResponseReader(upgrades=True)
        self._reader = FrameReader(packet, self._other)
        self._link = Link(traffic, self._connected, self._received, self._ended)
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
        self._link.open(self._site.host, self._site.port, self._site.tls)

    def deliver_to(self, packet: Callable[[bytes], None]) -> None:
        """From now on packets go there."""
        self._reader.text = packet

    def send(self, packet: bytes) -> None:
        self._link.write(masked(TEXT, packet, self._rng.randbytes(4)))

    def pause(self) -> None:
        self._link.pause()

    def resume(self) -> None:
        self._link.resume()

    def close(self) -> None:
        """Says goodbye and leaves the end of the connection to the server, for CLOSE_TIMEOUT_S at most."""
        self._reader.stop()
        if not self._up:
            self._link.close()
        elif self._closing is None:
            self._closing = Alarm()
            self._link.write(masked(CLOSE, b"", self._rng.randbytes(4)))
            self._link.resume()
            self._closing.set(CLOSE_TIMEOUT_S, self._link.close)

    def drop(self) -> None:
        """Closes its connection at once."""
        self._reader.stop()
        if self._closing is not None:
            self._closing.clear()
        self._link.close()

    def abandon(self, keep_s: float) -> None:
        self._reader.stop()
        self._link.abandon(keep_s)

    def _connected(self) -> None:
        self._link.write(self._request)

    def _received(self, data: bytes) -> None:
        if self._closing is not None:
            return  # what the server says after our goodbye is of no interest: only that it ends
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
        """Carries the handshake on. What came behind it, if it is done and went well."""
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
            self._link.write(masked(PONG, payload, self._rng.randbytes(4)))
        elif opcode == CLOSE:
            self._link.write(masked(CLOSE, payload[:2], self._rng.randbytes(4)))
            code = int.from_bytes(payload[:2], "big") if len(payload) > 1 else 1005
            self._give_up("transport close", f"WebSocket close code {code}")
        elif opcode == BINARY:
            self._reader.text(b"b")  # an attachment: counted by whoever counts, its content is of no interest here

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
        self._link.close()
        self._lost(reason, why)
