"""The ASGI application on an io-node fails in every way, and the clients of the io-node do not notice."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets

from sio_cluster.node.settings.config import Config
from sio_cluster.testing.http import http_client

pytestmark = pytest.mark.slow

APP = """
import asyncio, sys

class Timeout(BaseException):
    pass

ERRORS = {"exit": SystemExit(3), "timeout": Timeout(), "group": BaseExceptionGroup("g", [Timeout()]),
          "cancelled": asyncio.CancelledError(), "generator": GeneratorExit(), "interrupt": KeyboardInterrupt()}

async def leave():
    await asyncio.sleep(0)
    sys.exit(4)

async def app(scope, receive, send):
    how = scope.get("path", "").strip("/")
    if how in ERRORS:
        raise ERRORS[how]
    if how == "gather":
        await asyncio.gather(leave())
    if how == "task":
        asyncio.create_task(leave())
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""
WAYS = ("exit", "timeout", "group", "cancelled", "generator", "interrupt", "gather")


@pytest.fixture
async def url(tmp_path: Path, redis_config: Config) -> AsyncIterator[str]:
    (tmp_path / "guest.py").write_text(APP)
    env = {"HTTP_PORT": "0", "LOG_FORMAT": "json", "REDIS_PREFIX": redis_config.redis_prefix}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "io_node.cli", "--app", "guest.py:app"),
        env=os.environ | env | {"REDIS_URL": redis_config.redis_url or ""},
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    url = ""
    async with asyncio.timeout(20):
        while (line := json.loads(await process.stderr.readline()))["event"] != "io_node_ready":
            url = line.get("url", url)
    yield url
    process.terminate()
    _, log = await process.communicate()
    assert await process.wait() == 0
    assert log.count(b'"event": "exit_ignored"') == 3


async def test_clients_stay(url: str) -> None:
    socket_url = f"{url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
    async with websockets.connect(socket_url) as client, http_client(base_url=url) as http:
        await client.recv()
        for way in WAYS:
            assert (await http.get(f"/{way}")).status_code == 500, way
            with pytest.raises(websockets.WebSocketException):
                await websockets.connect(f"{url.replace('http', 'ws')}/{way}")
        assert (await http.get("/task")).status_code == 200
        assert (await http.get("/healthz")).status_code == 200
        async with asyncio.timeout(5):
            await (await client.ping())
