"""Which paths are Socket.IO's. One rule holds for polling and WebSocket.

It was compared with Socket.IO's own server (4.8.4) and python-socketio's (5.18).
"""

import asyncio
import base64
import json
from typing import Any

import pytest
import websockets

from io_node.front import AsgiApp
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.http import http_client

from .tiny_app import FAST, World, kinds, serving

pytestmark = pytest.mark.slow

SOCKETIO = [
    "/socket.io/",
    "/socket.io",  # python-socketio's server takes it, Socket.IO's own with `addTrailingSlash: false`
    "/socket.io//",
    "/socket.io/foo",
    "/socket.io/foo/bar/",
    "/socket.io/%66oo",
    "/socket%2Eio/",  # as in python-socketio
    "/socket.io/nothing.js",
]
OTHERS = ["/", "/socket.iox/", "/socket.iox", "//socket.io/", "/api/socket.io/", "/SOCKET.IO/", "/socket.io.js"]


async def answer_to(world: World, path: str, transport: str) -> int:
    """The status that a new connection gets. (httpx would clean the path.)"""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.listener.port)
    lines = [f"GET {path}?EIO=4&transport={transport} HTTP/1.1", "Host: x"]
    if transport == "websocket":
        key = base64.b64encode(bytes(16)).decode()
        lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}"]
    writer.write("\r\n".join((*lines, "", "")).encode())
    async with asyncio.timeout(5):
        status = (await reader.readline()).split()[1]
    writer.transport.abort()
    return int(status)


async def theirs(scope: Any, receive: Any, send: Any) -> None:
    """An application that answers 418 to each request, and refuses each WebSocket."""
    message = await receive()
    while scope["type"] == "lifespan":
        await send({"type": f"{message['type']}.complete"})
        message = await receive()
    if scope["type"] == "websocket":
        await send({"type": "websocket.close"})
        return
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(("app", "status"), [(None, 404), (theirs, 418)], ids=["alone", "beside an application"])
async def test_every_part_judges_a_path_alike(app: AsgiApp | None, status: int) -> None:
    async with serving(Config(FAST), MemoryBroker(), app) as world:
        for path in SOCKETIO:
            assert (path, await answer_to(world, path, "polling")) == (path, 200)
            assert (path, await answer_to(world, path, "websocket")) == (path, 101)
        for path in OTHERS:
            assert (path, await answer_to(world, path, "polling")) == (path, status)
            assert (path, await answer_to(world, path, "websocket")) == (path, 403)


async def test_a_session_may_change_its_path() -> None:
    async with (
        serving(Config(FAST), MemoryBroker()) as world,
        http_client(base_url=world.url, params={"EIO": "4", "transport": "polling"}) as http,
    ):
        sid = json.loads((await http.get("/socket.io/v2")).text[1:])["sid"]
        assert (await http.post("/socket.io", params={"sid": sid}, content="40")).text == "ok"
        assert (await http.get("/socket.io//", params={"sid": sid})).text.startswith("40{")


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_the_application_gets_the_path_as_it_was_sent(transport: str) -> None:
    """By both transports alike, so that the app-node decodes it once."""
    async with serving(Config(FAST), MemoryBroker()) as world:
        path = "/socket.io/caf%C3%A9/%2541"
        url = f"{path}?EIO=4&transport={transport}&name=%C3%A9"
        if transport == "websocket":
            async with websockets.connect(world.ws_url + url) as socket:
                await socket.recv()
                await socket.send("40")
                await world.app.wait_for(lambda facts: kinds(facts, ClientConnected) != [])
        else:
            async with http_client(base_url=world.url) as http:
                sid = json.loads((await http.get(url)).text[1:])["sid"]
                await http.post(f"{url}&sid={sid}", content="40")
                await world.app.wait_for(lambda facts: kinds(facts, ClientConnected) != [])
        (fact,) = kinds(world.app.facts, ClientConnected)
        assert (fact.handshake.path, fact.handshake.query) == (path, url.partition("?")[2])
