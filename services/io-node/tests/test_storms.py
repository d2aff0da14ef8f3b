"""Thousands of clients that come or leave at once: each turn of the loop takes some of them, and others are served.

Each look at the time makes it 1 ms later, so a turn of 5 ms has a known number of them.
"""

import asyncio
import json
import socket
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

import io_node.turns
from io_node.engineio.connection import EngineConnection
from io_node.engineio.connections import Connections
from io_node.engineio.http.request import Request
from io_node.engineio.session.machine import State
from io_node.engineio.websocket.socket import WebSocket
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, ClientDisconnected
from sio_cluster.streams.memory import MemoryBroker

from .tiny_app import FAST, World, kinds, serving

pytestmark = pytest.mark.slow

CLIENTS = 1_000
POLLING_CLIENTS = 300
MOST = 200
SOCKET = socket.socket()
"""The parser sets options of the socket: one that is connected to nothing will do for all."""
CLOSE_FRAME = b"\x88\x82" + bytes(4) + (1000).to_bytes(2, "big")
"""As browsers send it: masked, with the code of a normal closure."""
SCOPE = {"method": "GET", "http_version": "1.1", "headers": [(b"host", b"localhost")]}


class Wire(asyncio.Transport):
    """A TCP connection in memory, whose other end reads everything."""

    def __init__(self) -> None:
        super().__init__({"socket": SOCKET})
        self.closing = False
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def hang_up(self, how: str) -> None:
        """The other end closes its WebSocket, or ends the TCP connection, or its system resets that."""
        match how:
            case "close frame":
                self.protocol.get_buffer(-1)[: len(CLOSE_FRAME)] = CLOSE_FRAME
                self.protocol.buffer_updated(len(CLOSE_FRAME))
            case "end":
                self.protocol.eof_received()
            case _:
                self.closing = True
                self.protocol.connection_lost(ConnectionResetError())


def arrive(connections: Connections) -> Wire:
    wire = Wire()
    request = Request.of(SCOPE, b"/socket.io/", b"EIO=4&transport=websocket")
    connection = connections.open(request.handshake(), "websocket")
    assert isinstance(connection, EngineConnection)
    websocket: WebSocket = connections.new_socket(wire)
    websocket.start(connection)
    connection.start(websocket)
    connection.on_text(websocket, "40")
    return wire


class PollingClient:
    """A client on a TCP connection of its own, which has joined `/` and waits for the answer to its poll."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @staticmethod
    async def arrive(port: int) -> "PollingClient":
        client = PollingClient(*await asyncio.open_connection("127.0.0.1", port))
        client.send("GET", "")
        sid = json.loads((await client.answer())[1:])["sid"]
        client.send("POST", f"&sid={sid}", "40")
        assert await client.answer() == b"ok"
        client.send("GET", f"&sid={sid}")
        assert (await client.answer()).startswith(b"40{")
        client.send("GET", f"&sid={sid}")
        return client

    def send(self, method: str, query: str, body: str = "") -> None:
        head = f"{method} /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: x\r\n"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    async def answer(self) -> bytes:
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        return await self.reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r")[0]))


async def crowd(world: World) -> list[Wire]:
    wires = [arrive(world.node.engine.connections) for _ in range(CLIENTS)]
    await world.app.wait_for(lambda facts: len(kinds(facts, ClientConnected)) == CLIENTS, 20)
    async with asyncio.timeout(20):
        while world.node.client_counters.accepted < CLIENTS:  # nothing announces it
            await asyncio.sleep(0.01)
    return wires


async def most_in_a_turn(count: Callable[[], int]) -> int:
    """How many went in one turn of the loop at most, until none are left. `count`: how many are left."""
    most, left = 0, count()
    async with asyncio.timeout(20):
        while left:
            await asyncio.sleep(0)
            most, left = max(most, left - count()), count()
    return most


def still_open(world: World) -> int:
    """How many connections have not begun to close."""
    return sum(connection._session.state is State.OPEN for connection in world.node.engine.connections)


@pytest.fixture
def slow_work(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(range(10**9))
    monkeypatch.setattr(io_node.turns, "time", SimpleNamespace(perf_counter=lambda: next(looks) / 1000))


@pytest.mark.usefixtures("slow_work")
@pytest.mark.parametrize("how", ["close frame", "end", "reset"])
async def test_all_hang_up_at_once(how: str) -> None:
    async with serving(Config(FAST, CONNECT_RATE=0), MemoryBroker()) as world:
        wires = await crowd(world)
        sids = [client.sid for client in world.node.hub.clients()]
        for wire in wires:
            wire.hang_up(how)
        assert len(world.node.hub) == CLIENTS
        assert await most_in_a_turn(world.node.hub.__len__) <= MOST
        await world.app.wait_for(lambda facts: len(kinds(facts, ClientDisconnected)) == CLIENTS, 20)
        assert world.node.client_counters.disconnected == {reasons.TRANSPORT_CLOSE: CLIENTS}
        left: dict[int, list[str]] = defaultdict(list)
        for fact in kinds(world.app.facts, ClientDisconnected):
            left[lane_of(fact.sid, world.node.config.lanes)].append(fact.sid)
        for lane, in_order in left.items():
            assert in_order == [sid for sid in sids if lane_of(sid, world.node.config.lanes) == lane]


async def test_all_who_poll_hang_up_at_once() -> None:
    """What follows is done by tasks, one for each poll, which no clock of a turn sees."""
    async with serving(Config(FAST, CONNECT_RATE=0), MemoryBroker()) as world:
        clients = await asyncio.gather(*[PollingClient.arrive(world.listener.port) for _ in range(POLLING_CLIENTS)])
        connections = world.node.engine.connections
        async with asyncio.timeout(20):
            while not all(connection._session.poll_waiting for connection in connections):
                await asyncio.sleep(0.01)
        for client in clients:
            client.writer.transport.abort()
        assert len(world.node.hub) == POLLING_CLIENTS
        assert await most_in_a_turn(world.node.hub.__len__) <= POLLING_CLIENTS / 2
        assert world.node.client_counters.disconnected == {reasons.TRANSPORT_ERROR: POLLING_CLIENTS}


@pytest.mark.usefixtures("slow_work")
async def test_all_are_sent_away_at_once() -> None:
    async with serving(Config(FAST, CONNECT_RATE=0), MemoryBroker()) as world:
        await crowd(world)
        closing_in_a_turn = asyncio.create_task(most_in_a_turn(lambda: still_open(world)))
        await asyncio.sleep(0)  # it has counted them
        closing = asyncio.create_task(world.node.engine.connections.close_all(reasons.NODE_LOST))
        assert await most_in_a_turn(world.node.hub.__len__) <= 2 * MOST
        assert await closing_in_a_turn <= MOST
        await closing


@pytest.mark.usefixtures("slow_work")
async def test_a_short_drain_goes_in_turns_too() -> None:
    async with serving(Config(FAST, CONNECT_RATE=0, DRAIN_MS=100), MemoryBroker()) as world:
        await crowd(world)
        closing_in_a_turn = asyncio.create_task(most_in_a_turn(lambda: still_open(world)))
        await asyncio.sleep(0)  # it has counted them
        draining = asyncio.create_task(world.node.drain())
        assert await most_in_a_turn(world.node.hub.__len__) <= 2 * MOST
        assert await closing_in_a_turn <= MOST
        await draining
        await world.app.wait_for(lambda facts: len(kinds(facts, ClientDisconnected)) == CLIENTS, 20)
