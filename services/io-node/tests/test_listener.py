"""The listening socket: what belongs to the node and what to the application, the start, the stop."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import socketio
import websockets
from fastapi import FastAPI, Request, WebSocket

from io_node.app import IoNode
from io_node.listener import Listener
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import ClusterMismatch, ConfigError
from sio_cluster.protocol.messages import ClientDisconnected
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.valkey import start_valkey

from .test_serving import FAST, kinds, open_raw
from .tiny_app import memory_bus, serving

pytestmark = pytest.mark.slow


def their_app(events: list[str]) -> FastAPI:
    async def lifespan(app: FastAPI) -> Any:
        events.append("startup")
        yield
        events.append("shutdown")

    app = FastAPI(lifespan=asynccontextmanager(lifespan))

    @app.get("/hello")
    async def hello() -> str:
        return "theirs"

    @app.websocket("/socket")
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    return app


async def test_an_application_beside_it() -> None:
    events: list[str] = []
    async with serving(Config(FAST), MemoryBroker(), their_app(events)) as world:
        async with httpx.AsyncClient(base_url=world.url) as http:
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
        httpx.AsyncClient(base_url=world.url, headers={"x-forwarded-for": "203.0.113.9"}) as http,
    ):
        assert (await http.get("/who")).json() == seen


async def test_no_application() -> None:
    async with serving(Config(FAST), MemoryBroker()) as world, httpx.AsyncClient(base_url=world.url) as http:
        assert (await http.get("/")).status_code == 404
        with pytest.raises(websockets.exceptions.InvalidStatus):
            await websockets.connect(f"{world.ws_url}/socket")


async def test_another_path() -> None:
    config = Config(FAST, SOCKETIO_PATH="/live/sockets/")
    async with serving(config, MemoryBroker()) as world, httpx.AsyncClient(base_url=world.url) as http:
        assert (await http.get("/live/sockets/?EIO=4&transport=polling")).status_code == 200
        assert (await http.get("/live/sockets?EIO=4&transport=polling")).status_code == 200
        assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 404
        assert (await http.get("/live/sockets/cluster")).status_code == 200


async def test_the_size_of_the_cluster() -> None:
    broker = MemoryBroker()
    async with (
        serving(Config(FAST), broker) as world,
        httpx.AsyncClient(base_url=world.url) as http,
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
    async with serving(config, MemoryBroker()) as world, httpx.AsyncClient(base_url=world.url) as http:
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
    async with serving(config, MemoryBroker()) as world, httpx.AsyncClient(base_url=world.url) as http:
        for name in ("secret", "..%2fsecret", "socket.io.js%00", "%2e%2e/secret"):
            answer = await http.get(f"/socket.io/{name}")
            assert (answer.status_code, answer.json()["message"]) == (400, "Transport unknown")


# --- start and stop


async def test_not_ready_before_redis_and_ready_after() -> None:
    broker = MemoryBroker()
    broker.go_down()
    node = IoNode(Config(FAST), bus=memory_bus(broker), settle_ms=20)
    async with Listener(None, node.config, node) as listener, httpx.AsyncClient(base_url=listener.url) as http:
        assert (await http.get("/healthz")).status_code == 200
        assert (await http.head("/healthz")).status_code == 200
        assert (await http.get("/readyz")).status_code == 503
        assert (await http.head("/readyz")).status_code == 503
        assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 503
        broker.come_back()
        await listener.wait_until_ready(10)
        await _until_status(http, 200)
        assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 200
        broker.go_down()
        await _until_status(http, 503)
        assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 200, "Redis stalls, clients come"
        broker.come_back()
        await _until_status(http, 200)


async def _until_status(http: httpx.AsyncClient, status: int) -> None:
    async with asyncio.timeout(10):
        while (await http.get("/readyz")).status_code != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_stop_moves_clients_and_tells_the_application() -> None:
    broker = MemoryBroker()
    events: list[str] = []
    async with serving(Config(FAST), broker, their_app(events)) as world:
        client = socketio.AsyncClient(reconnection=False)
        gone = asyncio.get_running_loop().create_future()
        client.on("disconnect", gone.set_result)
        await client.connect(world.url, transports=["websocket"])
        async with open_raw(world) as raw:
            sid = await raw.connect()
            await world.listener.stop()
            await raw.closed()
            async with asyncio.timeout(5):
                assert await gone != client.reason.SERVER_DISCONNECT, "it would not come back"
        await world.app.wait_for(lambda facts: len(kinds(facts, ClientDisconnected)) == 2)
        assert ClientDisconnected(sid, reasons.NODE_DRAINED) in world.app.facts
        assert broker.io_nodes == {}
        assert events == ["startup", "shutdown"]
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", int(world.url.rsplit(":", 1)[1]))


async def test_a_node_that_cannot_say_who_is_gone_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody would ever tell the application: their records would stay, without a disconnect."""
    monkeypatch.setattr("io_node.app._FLUSH_S", 0.1)
    broker = MemoryBroker()
    config = Config(FAST, LANES=1, LANE_MAX_BYTES=1, DRAIN_MS=100)  # a lane takes one entry, and nobody reads it
    node = IoNode(config, bus=memory_bus(broker), settle_ms=20)
    async with Listener(None, config, node) as listener:
        await listener.wait_until_ready(10)
        url = f"{listener.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        async with websockets.connect(url) as socket:
            await socket.send("40")
            async with asyncio.timeout(5):
                while not broker.clients:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await listener.stop()
    assert list(broker.io_nodes) == [node.node_id]


async def test_while_it_drains_new_connections_are_refused() -> None:
    config = Config(FAST, DRAIN_MS=60_000)
    async with serving(config, MemoryBroker()) as world, httpx.AsyncClient(base_url=world.url) as http:
        await http.get("/socket.io/?EIO=4&transport=polling")
        stopping = asyncio.create_task(world.listener.stop())
        await _until_status(http, 503)
        assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 503
        with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
            await websockets.connect(f"{world.ws_url}/socket.io/?EIO=4&transport=websocket")
        assert refused.value.response.status_code == 503
        world.node.engine.connections.abort_all()
        async with asyncio.timeout(10):
            await stopping


async def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = Config(FAST, HTTP_PORT=taken.getsockname()[1])
        with pytest.raises(ConfigError, match="already in use"):
            await Listener(None, config, IoNode(config, bus=memory_bus(MemoryBroker()))).serve()


async def test_an_address_that_is_not_here() -> None:
    config = Config(FAST, HTTP_HOST="192.0.2.1")
    with pytest.raises(ConfigError, match="HTTP_HOST"):
        await Listener(None, config, IoNode(config, bus=memory_bus(MemoryBroker()))).serve()


async def test_a_cluster_that_it_does_not_fit() -> None:
    broker = MemoryBroker()
    async with serving(Config(FAST), broker):
        config = Config(FAST, LANES=5)
        with pytest.raises(ClusterMismatch, match="LANES"):
            async with asyncio.timeout(5):
                await Listener(None, config, IoNode(config, bus=memory_bus(broker))).serve()


async def test_a_cluster_that_it_does_not_fit_any_more() -> None:
    """Redis lost its data, and a node of other settings was there first."""
    broker = MemoryBroker()
    config = Config(FAST)
    listener = Listener(None, config, IoNode(config, bus=memory_bus(broker), settle_ms=20))
    async with asyncio.timeout(5):
        serving_it = asyncio.create_task(listener.serve())
        await listener.node.ready.wait()
        broker.lose_data()
        await MemoryBus(Config(FAST, LANES=5), broker).start()
        with pytest.raises(ClusterMismatch, match="LANES"):
            await serving_it


async def test_an_application_that_does_not_start() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    node = IoNode(Config(FAST), bus=memory_bus(MemoryBroker()))
    with pytest.raises(ConfigError, match="start-up failed"):
        async with asyncio.timeout(5):
            await Listener(app, node.config, node).serve()


# --- the command


@pytest.fixture
def run_cli(tmp_path: Path) -> Callable[..., Any]:
    def run(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "io_node.cli", *arguments],
            env={**os.environ, "REDIS_PORT": "1", **environ},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--app", "nothing"], "not of the form"),
        (["--app", "no_such_module:app"], "there is no module 'no_such_module'"),
        (["--app", "missing.py:app"], "there is no file missing.py"),
        (["--app", "broken.py:app"], "broken.py:2: ZeroDivisionError"),
        (["--app", "syntax.py:app"], "syntax.py:1: SyntaxError"),
        (["--app", "leaves.py:app"], "leaves.py:2: SystemExit: 3"),
        (["--app", "odd:app"], "odd.py:2: Odd"),
        (["--app", "fine.py:other"], "fine.py has no 'other'"),
        (["--app", "fine.py:number"], "not an ASGI application but int"),
        (["--host", "192.0.2.1"], "HTTP_HOST"),
        (["-p", "70000"], "HTTP_PORT"),
    ],
    ids=repr,
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, run_cli: Callable[..., Any], arguments: list[str], says: str
) -> None:
    (tmp_path / "broken.py").write_text("x = 1\nx / 0\n")
    (tmp_path / "syntax.py").write_text("def (\n")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (tmp_path / "odd.py").write_text("class Odd(BaseException): pass\nraise Odd\n")
    (tmp_path / "fine.py").write_text("number = 1\n")
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_a_wrong_setting_is_named(run_cli: Callable[..., Any]) -> None:
    done = run_cli(PING_INTERVAL_MS="soon")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "PING_INTERVAL_MS" in done.stderr


def test_a_taken_port_is_said(run_cli: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_cli("-p", str(port))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"{port} on 127.0.0.1 is already in use" in done.stderr


@pytest.fixture
async def start_cli(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    started: list[asyncio.subprocess.Process] = []

    async def start(*arguments: str, **environ: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "io_node.cli",
            *arguments,
            env={**os.environ, "HTTP_PORT": "0", "LOG_FORMAT": "json", **environ},
            cwd=tmp_path,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _line(process: asyncio.subprocess.Process, event: str) -> dict[str, Any]:
    """The next log line of this event."""
    assert process.stderr is not None
    async with asyncio.timeout(20):
        async for line in process.stderr:
            fields = json.loads(line)
            assert fields["event"] != "library_log", fields
            if fields["event"] == event:
                return cast(dict[str, Any], fields)
    raise AssertionError(f"it ended without {event}")


async def _no_http(url: str) -> None:
    """Whoever sends this must not write into our log."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rsplit(":", 1)[1]))
    writer.write(b"\x16\x03\x01\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_it_waits_for_redis_and_stops_on_a_signal(start_cli: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await start_cli(REDIS_PORT=str(port), REDIS_HOST="127.0.0.1", DRAIN_MS="300")
    url = (await _line(process, "listening"))["url"]
    await _line(process, "redis_retry")
    async with httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/readyz")).status_code == 503
    await _no_http(url)
    with start_valkey(port):
        await _line(process, "io_node_ready")
        async with websockets.connect(f"{url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket") as client:
            await client.recv()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                await client.wait_closed()
                assert await process.wait() == 0


async def test_a_second_signal_skips_the_draining(start_cli: Callable[..., Any], redis_config: Config) -> None:
    process = await start_cli(
        REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, DRAIN_MS="60000"
    )
    url = (await _line(process, "listening"))["url"]
    await _line(process, "io_node_ready")
    async with httpx.AsyncClient(base_url=url) as http:  # a polling client that does not fetch what is said to it
        for _ in range(2):
            assert (await http.get("/socket.io/?EIO=4&transport=polling")).status_code == 200
    process.send_signal(signal.SIGTERM)
    await _line(process, "io_node_draining")
    process.send_signal(signal.SIGTERM)
    await _line(process, "draining_skipped")
    async with asyncio.timeout(10):
        assert await process.wait() == 0


async def test_a_cluster_that_it_does_not_fit_is_said(start_cli: Callable[..., Any], redis_config: Config) -> None:
    bus = RedisBus(redis_config)
    await bus.start()
    await bus.stop()
    process = await start_cli(
        REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, LANES="3", LOG_LEVEL="warning"
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert errors.decode().count("\n") == 1
    assert "LANES" in errors.decode()
