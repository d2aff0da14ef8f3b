"""How a node starts, when it is ready, and how it moves its clients before it stops."""

import asyncio
import socket
from typing import Any

import httpx
import pytest
import socketio
import websockets

from io_node.app import IoNode
from io_node.listener import Listener
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import ClusterMismatch, ConfigError
from sio_cluster.protocol.messages import ClientDisconnected
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.http import http_client

from .by_hand import open_raw
from .tiny_app import FAST, kinds, memory_bus, serving
from .web_app import their_app

pytestmark = pytest.mark.slow


async def test_not_ready_before_redis_and_ready_after() -> None:
    broker = MemoryBroker()
    broker.go_down()
    node = IoNode(Config(FAST), bus=memory_bus(broker), settle_ms=20)
    async with Listener(None, node.config, node) as listener, http_client(base_url=listener.url) as http:
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
        while (await http.get("/readyz")).status_code != status:
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
                while not broker.clients:
                    await asyncio.sleep(0.01)
            await listener.stop()
    assert list(broker.io_nodes) == [node.node_id]


async def test_while_it_drains_new_connections_are_refused() -> None:
    config = Config(FAST, DRAIN_MS=60_000)
    async with serving(config, MemoryBroker()) as world, http_client(base_url=world.url) as http:
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
