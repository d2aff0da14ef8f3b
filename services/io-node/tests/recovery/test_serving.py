"""Over real sockets: who gets a pid and offsets, on both transports, and a connection that is half open."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Emit
from sio_cluster.protocol.recovery import parse_offset
from sio_cluster.streams.api.records import Accepted
from sio_cluster.streams.memory import MemoryBroker

from ..by_hand import Raw
from ..tiny_app import FAST, World, serving
from .cluster import until

BROWSER = {"user-agent": "Mozilla/5.0"}


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with serving(Config(**FAST), MemoryBroker()) as world:
        yield world


@asynccontextmanager
async def raw(world: World, query: str = "", agent: str | None = None, **options: Any) -> AsyncIterator[Raw]:
    url = f"{world.ws_url}/socket.io/?EIO=4&transport=websocket{query}"
    async with websockets.connect(url, user_agent_header=agent, **options) as socket:
        client = Raw(socket)
        assert str(await client.receive()).startswith("0{")
        yield client


class Poller:
    """A client that has opened a session by polling."""

    def __init__(self, http: httpx.AsyncClient, path: str) -> None:
        self._http = http
        self._path = path
        self._packets: list[str] = []

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self._http.post(self._path, content=message)

    async def receive(self) -> str | bytes:
        while not self._packets:
            self._packets = (await self._http.get(self._path)).text.split("\x1e")
        return self._packets.pop(0)


@asynccontextmanager
async def poller(world: World, agent: str) -> AsyncIterator[Poller]:
    async with httpx.AsyncClient(base_url=world.url, headers={"user-agent": agent}) as http:
        path = "/socket.io/?EIO=4&transport=polling"
        opened = (await http.get(path)).text
        yield Poller(http, f"{path}&sid={json.loads(opened[1:])['sid']}")


async def join(client: Raw | Poller, auth: str = "") -> dict[str, Any]:
    await client.send(f"40{auth}")
    answer = await client.receive()
    assert isinstance(answer, str)
    connected: dict[str, Any] = json.loads(answer[2:])
    return connected


@pytest.mark.parametrize(
    ("query", "agent", "auth", "capable"),
    [
        ("", "Mozilla/5.0", "", True),
        ("", None, "", False),
        ("", "Python/3.11", "", False),
        ("&recovery=1", "Python/3.11", "", True),
        ("&recovery=0", "Mozilla/5.0", "", False),
        ("", "Mozilla/5.0", '{"recovery":false}', False),
    ],
)
async def test_by_websocket(query: str, agent: str | None, auth: str, capable: bool) -> None:
    """The library `websockets` offers compression, as the JavaScript client in Node.js does: that says nothing."""
    async with world() as cluster, raw(cluster, query, agent) as client:
        connected = await join(client, auth)
        assert ("pid" in connected) is capable
        event = json.loads(str(await client.receive())[2:])
        assert event[:2] == ["auth", json.loads(auth or "{}")]
        assert [parse_offset(offset) is not None for offset in event[2:]] == ([True] if capable else [])


@pytest.mark.parametrize(("agent", "capable"), [("node-XMLHttpRequest", True), ("python-requests/2.34", False)])
async def test_by_polling(agent: str, capable: bool) -> None:
    async with world() as cluster, poller(cluster, agent) as client:
        connected = await join(client)
        await client.receive()
        assert ("pid" in connected) is capable
        picture = b'51-["picture",{"_placeholder":true,"num":0}]'
        await cluster.app.send(connected["sid"], Emit("/", picture, [b"\x00\x01"]))
        text, attachment = str(await client.receive()), await client.receive()
        assert attachment == "bAAE="
        assert len(json.loads(text.removeprefix("451-"))) == (3 if capable else 2)


async def test_a_half_open_connection_is_closed_by_the_return_of_its_client() -> None:
    async with world() as cluster, raw(cluster, agent="Mozilla/5.0") as former:
        connected = await join(former)
        offset = json.loads(str(await former.receive())[2:])[-1]
        await cluster.node._bus.records.update([Accepted(connected["sid"])])
        former.socket.transport.pause_reading()
        async with raw(cluster, agent="Mozilla/5.0") as client:
            again = await join(client, json.dumps({"pid": connected["pid"], "offset": offset}))
            assert again == connected
            assert cluster.node.client_counters.evicted == 1
            await until(lambda: len(cluster.node.engine.connections._sockets) == 1, 1.0)  # it takes no part in that
            former.socket.transport.resume_reading()
            await former.closed()


@pytest.mark.slow
@pytest.mark.parametrize("polling", [False, True])
async def test_a_client_that_missed_more_than_the_node_may_hold(polling: bool) -> None:
    """It reads slowly, and gets everything. Who is connected meanwhile is not pushed out, and is served."""
    async with serving(Config(**FAST, DOWNLINK_BUFFER_BYTES=1_000_000), MemoryBroker()) as cluster:
        engine = cluster.node.engine
        async with raw(cluster, agent="Mozilla/5.0") as former:
            connected = await join(former)
            offset = json.loads(str(await former.receive())[2:])[-1]
            await cluster.node._bus.records.update([Accepted(connected["sid"])])
        await until(lambda: cluster.node.client_counters.disconnected["transport close"] == 1)
        for number in range(150):
            event = b'2["news","%d%b"]' % (number, b"x" * 100_000)
            await cluster.app.send(connected["sid"], Emit("/", event))
        auth = json.dumps({"pid": connected["pid"], "offset": offset})
        opened = (
            poller(cluster, "Mozilla/5.0") if polling else raw(cluster, agent="Mozilla/5.0", max_size=None, max_queue=1)
        )
        async with raw(cluster) as other, opened as client:
            await join(other)
            assert await join(client, auth) == connected
            numbers: list[int] = []
            most = 0
            while len(numbers) < 150:
                numbers.append(int(json.loads(str(await client.receive())[2:])[1].rstrip("x")))
                await asyncio.sleep(0.005)  # it reads slowly
                most = max(most, engine.connections.buffers.waiting_bytes)
                if len(numbers) % 50 == 0:
                    await other.send('42["message","hello"]')
                    while not str(await other.receive()).startswith('42["message-back"'):
                        pass
            assert numbers == list(range(150))
            assert most < 500_000
            assert engine.counters.slow_consumers == {}
