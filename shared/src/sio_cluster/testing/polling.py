"""A light client over HTTP long-polling, for load under asyncio. `sio_cluster.testing.client` is the WebSocket one.

    client = PollingClient(print)
    await client.connect("http://127.0.0.1:8080")
    client.send(b"40")
    client.disconnect()

It keeps two connections, as a browser does: one on which a poll always waits, and one for POSTs.
"""

import asyncio
import json
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

SEPARATOR = b"\x1e"
CONNECT_S = 10.0
LAST_POST_S = 2.0
"""After the server has ended the session: how long a POST that is on its way may still take."""


class PollingClient:
    """One Engine.IO session over polling, connected once.

    `on_packet(packet)` gets each packet but PING, which is answered here, and NOOP. The first is the open packet.
    `on_close()` is called once, when the server ends the session. `on_refused(packets)` gets those that were to be sent
    and did not reach the server, as far as that is known. `closed` is set when the session has ended.
    """

    def __init__(
        self,
        on_packet: Callable[[bytes], None],
        on_close: Callable[[], None] | None = None,
        on_refused: Callable[[Sequence[bytes]], None] | None = None,
    ) -> None:
        self.closed = asyncio.Event()
        self._on_packet = on_packet
        self._on_close = on_close
        self._on_refused = on_refused
        self._path = "/socket.io/?EIO=4&transport=polling"
        self._packets: list[bytes] = []
        self._wake = asyncio.Event()
        self._over = False
        self._running: asyncio.Task[None] | None = None

    async def connect(self, url: str, within_s: float = CONNECT_S) -> None:
        """Begins a session at `http://host:port`. Raises OSError, IncompleteReadError, TimeoutError after `within_s`,
        or ConnectionError where the server refuses."""
        self._get, self._post = _Requests(url), _Requests(url)
        try:
            async with asyncio.timeout(within_s):
                status, body = await self._get.ask("GET", self._path)
            if status != 200:
                raise ConnectionError(f"status {status}")
            self._path += f"&sid={json.loads(body[1:])['sid']}"
        except BaseException:
            self._get.close()
            raise
        self._on_packet(body)
        self._running = asyncio.create_task(self._run())

    def send(self, packet: bytes) -> None:
        """Sends one packet, with others that wait, in the next POST."""
        self._packets.append(packet)
        self._wake.set()

    def disconnect(self) -> None:
        """Ends both connections at once. What waits to be sent counts as refused."""
        if self._running is not None:
            self._running.cancel()
            self._running = None
            self._end()

    async def _run(self) -> None:
        posting = asyncio.create_task(self._run_posts())
        polling = asyncio.create_task(self._run_polls())
        try:
            await asyncio.wait({posting, polling}, return_when=asyncio.FIRST_COMPLETED)
            if self._on_close is not None:
                self._on_close()
            self._over = True
            self._wake.set()
            await asyncio.wait({posting}, timeout=LAST_POST_S)
        finally:
            posting.cancel()
            polling.cancel()
            await asyncio.gather(posting, polling, return_exceptions=True)
            self._running = None
            self._end()

    def _end(self) -> None:
        self._get.close()
        self._post.close()
        packets, self._packets = self._packets, []
        if self._on_refused is not None:
            self._on_refused(packets)
        self.closed.set()

    async def _run_polls(self) -> None:
        while True:
            status, body = await self._get.ask("GET", self._path)
            if status != 200:
                return
            for packet in body.split(SEPARATOR):
                if packet == b"2":
                    self.send(b"3")
                elif packet == b"1":
                    return
                elif packet != b"6":
                    self._on_packet(packet)

    async def _run_posts(self) -> None:
        while True:
            while self._packets:
                packets, self._packets = self._packets, []
                try:
                    status, _ = await self._post.ask("POST", self._path, SEPARATOR.join(packets))
                except (OSError, asyncio.IncompleteReadError):
                    status = 0  # nobody knows whether it was taken
                if status != 200:
                    self._packets[:0] = packets
                    return
            if self._over:
                return
            self._wake.clear()
            await self._wake.wait()


class _Requests:
    """One HTTP/1.1 connection, kept alive, opened with the first request."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname, parts.port
        self._head = f"HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        self._pair: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """(status, body) of the answer. OSError or IncompleteReadError where there is none.

        A kept connection that the server closed meanwhile is replaced, as browsers do: it took nothing of the request.
        """
        kept = self._pair is not None
        try:
            return await self._exchange(method, path, body)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.close()
            if not kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                raise
            return await self._exchange(method, path, body)

    async def _exchange(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        if self._pair is None:
            self._pair = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._pair
        data = body or b""
        length = f"Content-Length: {len(data)}\r\n" if body is not None else ""
        writer.write(f"{method} {path} {self._head}{length}\r\n".encode() + data)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        content = await self._body(reader, fields)
        if fields.get("connection") == "close":
            self.close()
        return int(head.split(" ", 2)[1]), content

    def close(self) -> None:
        if self._pair is not None:
            self._pair[1].transport.abort()
            self._pair = None

    async def _body(self, reader: asyncio.StreamReader, fields: dict[str, str]) -> bytes:
        if fields.get("transfer-encoding") != "chunked":
            return await reader.readexactly(int(fields.get("content-length", "0")))
        parts = []
        while size := int(await reader.readline(), 16):
            parts.append((await reader.readexactly(size + 2))[:-2])
        await reader.readexactly(2)
        return b"".join(parts)
