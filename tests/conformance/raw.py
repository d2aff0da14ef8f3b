"""Clients that speak the protocol by hand, one packet at a time, so that tests see what is on the wire.

They do not share `sio_cluster.testing.client`. That one is built on picows, as the io-node is: if both broke RFC 6455
in the same way, it would not notice. The library `websockets` does, and `Socket` sends bytes that no library would
send.

The clients answer PING like real clients unless told otherwise: a connection that ends did so for the reason under
test, and not because of a ping timeout. What a test waits for is bounded by `PROMPT_S`, far below CONNECT_TIMEOUT_MS.
"""

import asyncio
import base64
import json
import os
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from sio_cluster.testing.http import http_client

PROMPT_S = 4.0
"""How soon an answer or a close must come on a busy machine."""

SEPARATOR = "\x1e"

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA


class Wire:
    """An Engine.IO connection over WebSocket. `messages` holds what arrived and was not read yet."""

    def __init__(self, socket: ClientConnection, answers_pings: bool) -> None:
        self.socket = socket
        self.answers_pings = answers_pings
        self.pings = 0
        self.sid = ""
        self.messages: asyncio.Queue[str | bytes] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, *, sid: str | None = None, answers_pings: bool = True, query: str = "", **options: Any
    ) -> AsyncIterator[Self]:
        """A fresh connection, after its open packet; with `sid` the probe of an upgrade, before any packet."""
        address = websocket_url(url, query=query, **({"sid": sid} if sid else {}))
        async with connect(
            address, compression=None, ping_interval=None, max_size=None, close_timeout=1, proxy=None, **options
        ) as socket:
            wire = cls(socket, answers_pings)
            try:
                if not sid:
                    opening = await wire.receive()
                    assert str(opening)[0] == "0"
                    wire.sid = json.loads(str(opening)[1:])["sid"]
                yield wire
            finally:
                wire._reader.cancel()

    async def _read(self) -> None:
        try:
            async for message in self.socket:
                if message == "2":
                    self.pings += 1
                    if self.answers_pings:
                        await self.socket.send("3")
                        continue
                self.messages.put_nowait(message)
        except ConnectionClosed:
            pass
        finally:
            self.closed.set()

    async def send(self, *messages: str | bytes) -> None:
        """Sends them; what the peer no longer takes is not an error here, `closes` tells."""
        try:
            for message in messages:
                await self.socket.send(message)
        except ConnectionClosed:
            await self.closed.wait()

    async def receive(self, within_s: float = PROMPT_S) -> str | bytes:
        """The next message. Raises AssertionError where the connection closes first, or nothing comes."""
        waiting = asyncio.create_task(self.messages.get())
        ending = asyncio.create_task(self.closed.wait())
        try:
            await asyncio.wait({waiting, ending}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            assert not ending.done(), f"closed with {self.socket.close_code} instead of a message"
            raise AssertionError(f"nothing came within {within_s} s")
        finally:
            waiting.cancel()
            ending.cancel()

    async def receive_many(self, count: int, within_s: float = PROMPT_S) -> list[str | bytes]:
        return [await self.receive(within_s) for _ in range(count)]

    async def closes(self, within_s: float = PROMPT_S) -> int | None:
        """Waits until the peer closed, and tells its close code. What arrives before is dropped."""
        async with asyncio.timeout(within_s):
            await self.closed.wait()
        return self.socket.close_code

    async def join(self, namespace: str = "/", auth: Any = None, packets: int = 2) -> str:
        """Joins a namespace of the test application (CONNECT, then its `auth` event) and tells the client's sid."""
        prefix = "" if namespace == "/" else namespace + ","
        await self.send(f"40{prefix}{'' if auth is None else json.dumps(auth)}")
        answer = str(await self.receive(5))
        assert answer.startswith(f"40{prefix}{{"), answer
        for _ in range(packets - 1):
            await self.receive()
        return str(json.loads(answer[2 + len(prefix) :])["sid"])

    async def works(self) -> None:
        """Asserts that this client, joined to `/`, still gets its answers."""
        await self.send('42999["echo","still here"]')
        assert await self.receive() == '43999["still here"]'


class Poller:
    """An Engine.IO session over polling."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url
        self.sid = ""
        self.handshake: dict[str, Any] = {}
        self.packets: list[str] = []
        self.pings = 0
        self.polls = 0

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        async with http_client() as http:
            poller = cls(http, url)
            response = await http.get(polling_url(url))
            assert response.status_code == 200, response.text
            poller.handshake = json.loads(response.text[1:])
            poller.sid = poller.handshake["sid"]
            yield poller

    @property
    def address(self) -> str:
        return polling_url(self.url, sid=self.sid)

    async def poll(self) -> httpx.Response:
        self.polls += 1
        return await self.http.get(self.address)

    async def post(self, body: str | bytes, **options: Any) -> httpx.Response:
        headers = {"Content-Type": "text/plain;charset=UTF-8"} | options.pop("headers", {})
        content = body if isinstance(body, bytes) else body.encode()
        return await self.http.post(self.address, content=content, headers=headers, **options)

    async def send(self, *packets: str) -> None:
        """Posts packets, which the server must take."""
        response = await self.post(SEPARATOR.join(packets))
        assert (response.status_code, response.text) == (200, "ok")

    async def receive(self) -> str:
        """The next packet that is no PING (those are answered)."""
        while True:
            while not self.packets:
                response = await self.poll()
                assert response.status_code == 200, response.text
                self.packets = response.text.split(SEPARATOR)
            packet = self.packets.pop(0)
            if packet != "2":
                return packet
            self.pings += 1
            await self.send("3")

    async def receive_many(self, count: int) -> list[str]:
        return [await self.receive() for _ in range(count)]

    async def join(self, namespace: str = "/") -> str:
        prefix = "" if namespace == "/" else namespace + ","
        await self.send(f"40{prefix}")
        answer = await self.receive()
        assert answer.startswith(f"40{prefix}{{"), answer
        await self.receive()
        return str(json.loads(answer[2 + len(prefix) :])["sid"])

    async def works(self) -> None:
        await self.send('42999["echo","still here"]')
        assert await self.receive() == '43999["still here"]'

    async def is_gone(self, within_s: float = PROMPT_S) -> None:
        """Asserts that the session ended: after what it still had to say, polls are refused."""
        async with asyncio.timeout(within_s):
            while True:
                response = await self.poll()
                if response.status_code != 200:
                    break
        assert response.status_code == 400, response.status_code
        assert response.json()["code"] == 1


class Socket:
    """A TCP connection on which a test writes whatever bytes it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    @classmethod
    @asynccontextmanager
    async def open_websocket(cls, url: str) -> AsyncIterator[Self]:
        """After the WebSocket handshake and the open packet."""
        async with cls.open(url) as socket:
            socket.write(upgrade_request(url))
            head = await socket.read_head()
            assert head.startswith(b"HTTP/1.1 101"), head
            opcode, payload = await socket.read_frame()
            assert (opcode, payload[:1]) == (TEXT, b"0")
            yield socket

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    def pause_reading(self) -> None:
        """What the peer sends stays in the kernel's buffers, and then in its own."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport:
        assert isinstance(self.writer.transport, asyncio.Transport)
        return self.writer.transport

    async def read_head(self, within_s: float = PROMPT_S) -> bytes:
        async with asyncio.timeout(within_s):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def read_frame(self, within_s: float = PROMPT_S) -> tuple[int, bytes]:
        """(opcode, payload) of the next WebSocket frame; Engine.IO PINGs are answered and left out."""
        async with asyncio.timeout(within_s):
            while True:
                first, second = await self.reader.readexactly(2)
                length = second & 0x7F
                if length == 126:
                    (length,) = struct.unpack(">H", await self.reader.readexactly(2))
                elif length == 127:
                    (length,) = struct.unpack(">Q", await self.reader.readexactly(8))
                payload = await self.reader.readexactly(length)
                if (first & 0xF, payload) != (TEXT, b"2"):
                    return first & 0xF, payload
                self.write(frame(TEXT, b"3"))

    async def close_code(self, within_s: float = PROMPT_S) -> int | None:
        """Waits for the end of the connection: the code of its close frame, None where there was none."""
        code = None
        async with asyncio.timeout(within_s):
            try:
                while True:
                    opcode, payload = await self.read_frame(within_s)
                    if opcode == CLOSE:
                        code = struct.unpack(">H", payload[:2])[0] if payload else 1005
                        self.write(frame(CLOSE, payload[:2]))
            except (asyncio.IncompleteReadError, ConnectionError):
                return code

    async def rest(self, within_s: float) -> bytes:
        """All that comes until the peer closes, which it must do in time."""
        async with asyncio.timeout(within_s):
            try:
                return await self.reader.read(-1)
            except ConnectionError:
                return b""


def frame(opcode: int, payload: bytes, *, fin: bool = True, mask: bool = True, rsv: int = 0) -> bytes:
    """A WebSocket frame as a client writes it (RFC 6455 section 5.2), or as it must not."""
    head = bytearray([(0x80 if fin else 0) | rsv << 4 | opcode])
    flag = 0x80 if mask else 0
    if len(payload) < 126:
        head.append(flag | len(payload))
    elif len(payload) < 1 << 16:
        head += bytes([flag | 126]) + struct.pack(">H", len(payload))
    else:
        head += bytes([flag | 127]) + struct.pack(">Q", len(payload))
    # a key of zeros leaves the payload as it is: it is a mask all the same
    return bytes(head) + (bytes(4) if mask else b"") + payload


def upgrade_request(url: str, query: str = "EIO=4&transport=websocket", headers: str = "") -> bytes:
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET /socket.io/?{query} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    ).encode()


def polling_url(url: str, **query: str) -> str:
    return f"{url}/socket.io/?" + "&".join(
        f"{name}={value}" for name, value in ({"EIO": "4", "transport": "polling"} | query).items()
    )


def websocket_url(url: str, *, query: str = "", **more: str) -> str:
    pairs = {"EIO": "4", "transport": "websocket"} | more
    address = f"{url.replace('http', 'ws', 1)}/socket.io/?" + "&".join(f"{k}={v}" for k, v in pairs.items())
    return address + (f"&{query}" if query else "")


async def websocket_refusal(address: str, **options: Any) -> int | None:
    """How a WebSocket handshake is turned away: the HTTP status; None for a close without any message.

    Socket.IO's own server answers some bad handshakes by an upgrade and a close at once.
    """
    try:
        async with connect(address, compression=None, proxy=None, close_timeout=1, **options) as socket:
            async with asyncio.timeout(PROMPT_S):
                with_message = [message async for message in socket]
            assert with_message == []
    except InvalidStatus as refusal:
        return refusal.response.status_code
    except (ConnectionClosed, InvalidMessage, ConnectionError):
        return None
    return None


@asynccontextmanager
async def joined_wires(url: str, count: int) -> AsyncIterator[list[Wire]]:
    """Several clients that joined `/`."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire.open(url)) for _ in range(count)]
        for wire in wires:
            await wire.join()
        yield wires
