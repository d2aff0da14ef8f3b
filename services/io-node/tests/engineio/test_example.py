"""The example at the head of `io_node.engineio.api` runs as it stands there."""

import asyncio
import socket
import textwrap
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect

from io_node.engineio import api
from sio_cluster.testing.http import http_client

from .serving import soon


def example() -> str:
    assert api.__doc__ is not None
    return textwrap.dedent(api.__doc__[api.__doc__.index("    import uvicorn") :])


@pytest.mark.slow
async def test_the_example_echoes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    servers: list[uvicorn.Server] = []

    def run(app: Any, *, http: Any, port: int) -> None:
        """In place of `uvicorn.run`, which blocks: makes a server for this loop."""
        config = uvicorn.Config(app, http=http, port=port, lifespan="off", log_level="warning")
        config.load()
        servers.append(uvicorn.Server(config))
        servers[0].lifespan = config.lifespan_class(config)

    monkeypatch.setattr(uvicorn, "run", run)
    exec(compile(example(), "example", "exec"), {"__name__": "example"})
    [server] = servers
    listening = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{listening.getsockname()[1]}"
    await server.startup([listening])
    try:
        async with connect(f"ws://{host}/socket.io/?EIO=4&transport=websocket") as websocket:
            assert str(await soon(websocket.recv())).startswith("0{")
            await websocket.send("4hello")
            assert await soon(websocket.recv()) == "4hello"
            await websocket.send(b"\x01\x02")
            assert await soon(websocket.recv()) == b"\x01\x02"
        async with http_client() as client:
            opening = (await client.get(f"http://{host}/socket.io/?EIO=4&transport=polling")).text
            sid = opening[len('0{"sid":"') :].partition('"')[0]
            path = f"http://{host}/socket.io/?EIO=4&transport=polling&sid={sid}"
            assert (await client.post(path, content="4again")).text == "ok"
            assert (await client.get(path)).text == "4again"
            assert (await client.post(path, content="1")).text == "ok"
        async with asyncio.timeout(5):
            said = ""
            while said.count("gone because of") < 2:  # prints tell nobody
                await asyncio.sleep(0.01)
                said += capsys.readouterr().out
    finally:
        await server.shutdown([listening])
