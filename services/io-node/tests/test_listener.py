"""The listening socket: what belongs to the node, and what to the application."""

from pathlib import Path

import pytest
import websockets
from fastapi import FastAPI, Request

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.http import http_client

from .by_hand import open_raw
from .tiny_app import FAST, serving
from .web_app import their_app

pytestmark = pytest.mark.slow


async def test_an_application_beside_it() -> None:
    events: list[str] = []
    async with serving(Config(FAST), MemoryBroker(), their_app(events)) as world:
        async with http_client(base_url=world.url) as http:
            assert (await http.get("/hello")).json() == "theirs"
            assert (await http.get("/nothing")).status_code == 404
            assert (await http.get("/healthz")).json()["status"] == "alive"
        async with websockets.connect(f"{world.ws_url}/socket") as theirs, open_raw(world) as ours:
            await theirs.send("to their own WebSocket")
            assert await theirs.recv() == "to their own WebSocket"
            await ours.connect()
        assert events == ["startup"]
    assert events == ["startup", "shutdown"]


@pytest.mark.parametrize(("trusted", "seen"), [("127.0.0.0/8", "203.0.113.9"), ("192.0.2.0/24", "127.0.0.1")])
async def test_only_a_trusted_proxy_names_the_client(trusted: str, seen: str) -> None:
    app = FastAPI()

    @app.get("/who")
    async def who(request: Request) -> str:
        assert request.client is not None
        return request.client.host

    async with (
        serving(Config(FAST, TRUSTED_PROXIES=trusted), MemoryBroker(), app) as world,
        http_client(base_url=world.url, headers={"x-forwarded-for": "203.0.113.9"}) as http,
    ):
        assert (await http.get("/who")).json() == seen


async def test_no_application() -> None:
    async with serving(Config(FAST), MemoryBroker()) as world, http_client(base_url=world.url) as http:
        assert (await http.get("/")).status_code == 404
        with pytest.raises(websockets.exceptions.InvalidStatus):
            await websockets.connect(f"{world.ws_url}/socket")


async def test_another_path() -> None:
    config = Config(FAST, SOCKETIO_PATH="/live/sockets/")
    async with serving(config, MemoryBroker()) as world, http_client(base_url=world.url) as http:
        assert (await http.get("/live/sockets/?EIO=4&transport=polling")).status_code == 200
        assert (await http.get("/live/sockets?EIO=4&transport=polling")).status_code == 200
        assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 404
        assert (await http.get("/live/sockets/cluster")).status_code == 200


async def test_the_size_of_the_cluster() -> None:
    broker = MemoryBroker()
    async with (
        serving(Config(FAST), broker) as world,
        http_client(base_url=world.url) as http,
        open_raw(world) as raw,
    ):
        await raw.connect()
        await world.node._presence.beat()  # says how many clients it has
        await world.node._presence.beat()  # reads that
        answer = (await http.get("/socket.io/cluster")).json()
        assert answer == {"node": world.node.node_id, "io_nodes": 1, "app_nodes": 1, "clients": 1}


# --- the JavaScript client


async def test_the_javascript_client(tmp_path: Path) -> None:
    (tmp_path / "socket.io.js").write_text("/* client */")
    (tmp_path / "socket.io.min.js.map").write_text("{}")
    config = Config(FAST, CLIENT_DIST_DIR=tmp_path)
    async with serving(config, MemoryBroker()) as world, http_client(base_url=world.url) as http:
        answer = await http.get("/socket.io/socket.io.js")
        assert answer.text == "/* client */"
        assert answer.headers["content-type"].startswith("application/javascript")
        assert answer.headers["cache-control"] == "public, max-age=0"
        etag = answer.headers["etag"]
        again = await http.get("/socket.io/socket.io.js", headers={"If-None-Match": f"W/{etag}"})
        assert (again.status_code, again.content) == (304, b"")
        head = await http.head("/socket.io/socket.io.js")
        assert (head.status_code, head.content) == (200, b"")
        assert (await http.get("/socket.io/socket.io.min.js.map")).json() == {}
        missing = await http.get("/socket.io/socket.io.esm.min.js")
        assert missing.status_code == 404
        assert "npm install socket.io-client" in missing.text


async def test_nothing_else_of_that_folder_is_served(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    config = Config(FAST, CLIENT_DIST_DIR=tmp_path)
    async with serving(config, MemoryBroker()) as world, http_client(base_url=world.url) as http:
        for name in ("secret", "..%2fsecret", "socket.io.js%00", "%2e%2e/secret"):
            answer = await http.get(f"/socket.io/{name}")
            assert (answer.status_code, answer.json()["message"]) == (400, "Transport unknown")
