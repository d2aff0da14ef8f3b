"""An engine behind a real uvicorn in this loop, and a handler that remembers."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx
import uvicorn

from io_node.engineio.api import Connection, Outbound
from io_node.engineio.server import EngineServer
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import MalformedPacket

WAIT_S = 5.0

_T = TypeVar("_T")
NODE = "test-aaaaaa"


@dataclass
class Recorder:
    """One connection's Socket.IO side: echoes, and keeps what it got."""

    connection: Connection
    messages: "asyncio.Queue[str | bytes]" = field(default_factory=asyncio.Queue)
    upgraded: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    closed: "asyncio.Queue[str]" = field(default_factory=asyncio.Queue)
    echo: bool = True

    def on_message(self, data: str | bytes) -> None:
        if data == "malformed":
            raise MalformedPacket("as asked")
        if data == "bug":
            raise RuntimeError("as asked")
        self.messages.put_nowait(data)
        if self.echo:
            self.connection.send(Outbound(data.encode()) if isinstance(data, str) else Outbound(None, [data]))

    def on_upgrade(self, transport: str) -> None:
        self.upgraded.put_nowait(transport)

    def on_close(self, reason: str) -> None:
        self.closed.put_nowait(reason)


@dataclass
class Node:
    """The server under test."""

    config: Config
    port: int = 0
    accepts: bool = True
    recorders: "asyncio.Queue[Recorder]" = field(default_factory=asyncio.Queue)
    engine: EngineServer = field(init=False)
    http_connections: set[Any] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.engine = EngineServer(self.config, self, NODE)

    def on_connection(self, connection: Connection) -> Recorder | None:
        if not self.accepts:
            return None
        recorder = Recorder(connection)
        self.recorders.put_nowait(recorder)
        return recorder

    async def recorder(self) -> Recorder:
        return await soon(self.recorders.get())

    def url(self, sid: str = "", transport: str = "polling", scheme: str = "http") -> str:
        query = f"EIO=4&transport={transport}" + (f"&sid={sid}" if sid else "")
        return f"{scheme}://127.0.0.1:{self.port}/socket.io/?{query}"

    def ws_url(self, sid: str = "") -> str:
        return self.url(sid, "websocket", "ws")


async def soon(awaitable: Awaitable[_T]) -> _T:
    """The result, or a failure where it does not come."""
    return await asyncio.wait_for(awaitable, WAIT_S)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until this holds, which nothing announces."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serve(**settings: Any) -> AsyncIterator[Node]:
    node = Node(Config(**settings))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "the application's own"})
            await send({"type": "websocket.close"})
        elif node.engine.handles(scope["path"]):
            await node.engine.polling(scope, receive, send)
        else:
            body = b""
            while (message := await receive()).get("more_body"):
                body += message["body"]
            body += message.get("body", b"")
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"app:" + body})

    config = uvicorn.Config(
        app,
        port=0,
        http=node.engine.http_protocol,  # type: ignore[arg-type]
        lifespan="off",
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    config.load()
    listening = socket.create_server(("127.0.0.1", 0))
    node.port = listening.getsockname()[1]
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup([listening])  # `serve` would take the signals, and look only ten times a second for its end
    node.http_connections = server.server_state.connections
    try:
        yield node
    finally:
        node.engine.stop()
        await server.shutdown([listening])


async def open_polling(node: Node, client: httpx.AsyncClient) -> str:
    response = await client.get(node.url())
    assert response.status_code == 200
    assert response.text[0] == "0"
    return str(json.loads(response.text[1:])["sid"])


async def waiting_poll(node: Node, sid: str) -> None:
    await until(lambda: node.engine.connections.by_sid[sid]._session.poll_waiting)


class Raw:
    """A client that sends whatever bytes it is told to."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def connect(node: Node) -> "Raw":
        return Raw(*await asyncio.open_connection("127.0.0.1", node.port))

    @staticmethod
    async def websocket(node: Node, sid: str = "", headers: str = "") -> "Raw":
        """Past the handshake and, on a new session, past the open packet."""
        raw = await Raw.connect(node)
        await raw.send(upgrade_request(sid, headers))
        head = await raw.head()
        assert head.startswith("HTTP/1.1 101 "), head
        if not sid:
            assert (await raw.frame())[1][:1] == b"0"
        return raw

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await soon(self.writer.drain())

    async def head(self) -> str:
        """An HTTP response's status line and headers."""
        return str((await soon(self.reader.readuntil(b"\r\n\r\n"))).decode())

    async def frame(self) -> tuple[int, bytes]:
        """One frame of the server: (first byte, payload)."""
        first, size = await soon(self.reader.readexactly(2))
        if size == 126:
            size = int.from_bytes(await soon(self.reader.readexactly(2)), "big")
        elif size == 127:
            size = int.from_bytes(await soon(self.reader.readexactly(8)), "big")
        return first, await soon(self.reader.readexactly(size))

    async def close_code(self) -> int:
        """The code of the server's close frame; frames before it are skipped."""
        while True:
            first, payload = await self.frame()
            if first == 0x88:
                return int.from_bytes(payload[:2], "big")

    async def rest(self) -> bytes:
        """All until the server closes."""
        return bytes(await soon(self.reader.read()))

    def close(self) -> None:
        self.writer.close()


def upgrade_request(sid: str = "", headers: str = "", query: str = "EIO=4&transport=websocket") -> bytes:
    query += f"&sid={sid}" if sid else ""
    return (
        f"GET /socket.io/?{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
        f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    ).encode()


def client_frame(payload: bytes, first: int = 0x81, *, masked: bool = True) -> bytes:
    """A frame from client to server (RFC 6455 section 5.2)."""
    size, bit = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 65536:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


async def send_for_ever(raw: Raw, data: bytes) -> None:
    while True:
        raw.writer.write(data)
        await raw.writer.drain()
