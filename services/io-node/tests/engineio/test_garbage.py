"""What a client leaves behind when it has gone: nothing that waits for Python's garbage collector.

The collector is off here. An object that a reference cycle keeps is still found among all objects then.
"""

import asyncio
import contextlib
import gc
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import httpx
import pytest
from picows import WSTransport
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from io_node.engineio.connection import EngineConnection
from io_node.engineio.http.protocol import EngineHttpProtocol
from io_node.engineio.polls import Polls
from io_node.engineio.session.machine import EngineSession
from io_node.engineio.session.queue import SendQueue
from io_node.engineio.websocket.parser import Parser
from io_node.engineio.websocket.socket import WebSocket
from io_node.engineio.wheel import Timer
from io_node.socketio.client import Client
from io_node.socketio.session import ClientSession
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.http import http_client

from ..tiny_app import FAST, World, serving
from .serving import Raw, client_frame, send_for_ever, until, upgrade_request

pytestmark = pytest.mark.slow

OF_A_CLIENT = {
    EngineHttpProtocol,
    RequestResponseCycle,
    EngineConnection,
    EngineSession,
    SendQueue,
    Polls,
    WebSocket,
    Parser,
    WSTransport,
    Timer,
    ClientSession,
    Client,
    ClientConnected,
    Handshake,
}
CLOSE_FRAME = client_frame(b"\x03\xe8", 0x88)


@pytest.fixture(autouse=True)
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def objects() -> list[object]:
    return [thing for thing in gc.get_objects() if type(thing) in OF_A_CLIENT]


async def websocket(world: World, *namespaces: str, answer: bytes = b'["auth"') -> Raw:
    """A client that has joined these namespaces."""
    raw = Raw(*await asyncio.open_connection("127.0.0.1", world.listener.port))
    await raw.send(upgrade_request())
    await raw.head()
    await raw.frame()
    for namespace in namespaces:
        await raw.send(client_frame(f"40{namespace},".encode()))
        await heard(raw, answer)
    return raw


async def heard(raw: Raw, part: bytes) -> None:
    """Read frames until one holds this."""
    while part not in (await raw.frame())[1]:
        pass


@asynccontextmanager
async def polling(world: World) -> AsyncIterator["Polling"]:
    """A client that has joined `/`."""
    async with http_client(base_url=world.url) as http:
        opening = (await http.get("/socket.io/?EIO=4&transport=polling")).text
        client = Polling(http, json.loads(opening[1:])["sid"])
        await client.post(b"40")
        await client.heard('["auth"')
        yield client


class Polling:
    def __init__(self, http: httpx.AsyncClient, sid: str) -> None:
        self.sid = sid
        self._http = http
        self._url = f"/socket.io/?EIO=4&transport=polling&sid={sid}"

    async def post(self, body: bytes) -> None:
        assert (await self._http.post(self._url, content=body)).text == "ok"

    async def poll(self) -> str:
        return (await self._http.get(self._url)).text

    async def heard(self, part: str) -> None:
        while part not in await self.poll():
            pass


async def hangs_up(world: World) -> None:
    (await websocket(world, "/")).close()


async def closes_the_websocket(world: World) -> None:
    raw = await websocket(world, "/")
    await raw.send(CLOSE_FRAME)
    await raw.rest()
    raw.close()


async def says_goodbye(world: World) -> None:
    raw = await websocket(world, "/")
    await raw.send(client_frame(b"1"))
    await raw.close_code()
    raw.close()


async def resets(world: World) -> None:
    reset(await websocket(world, "/"))


async def resets_after_an_answer(world: World) -> None:
    """It could have asked for more on the same connection, for 75 s."""
    raw = Raw(*await asyncio.open_connection("127.0.0.1", world.listener.port))
    await raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await raw.head()
    await until(
        lambda: any(
            isinstance(thing, EngineHttpProtocol) and thing.timeout_keep_alive_task for thing in gc.get_objects()
        )
    )
    reset(raw)


def reset(raw: Raw) -> None:
    """Without a goodbye of TCP."""
    raw.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


async def talks(world: World) -> None:
    raw = await websocket(world, "/")
    for frames in (
        client_frame(b'420["join","room"]'),
        client_frame(b'420["message-with-ack","', 0x01) + client_frame(b'in two frames"]', 0x80),
        client_frame(b'420["message-with-ack","' + 100_000 * b"x" + b'"]'),
    ):
        await raw.send(frames)
        await heard(raw, b"430[")
    await raw.send(client_frame(b'451-0["message-with-ack",{"_placeholder":true,"num":0}]'))
    await raw.send(client_frame(b"binary", 0x82))
    await heard(raw, b"binary")
    raw.close()


async def sits_in_two_namespaces(world: World) -> None:
    (await websocket(world, "/", "/custom")).close()


async def never_connects(world: World) -> None:
    (await websocket(world)).close()


async def is_refused(world: World) -> None:
    (await websocket(world, "/unknown", answer=b"Invalid namespace")).close()


async def leaves_before_it_is_accepted(world: World) -> None:
    world.app.accepting = False
    raw = await websocket(world)
    await raw.send(client_frame(b"40"))
    await until(lambda: len(world.node.hub))
    raw.close()


async def is_disconnected(world: World) -> None:
    raw = await websocket(world, "/")
    await raw.send(client_frame(b'42["disconnect-me"]'))
    await heard(raw, b"41")
    raw.close()


async def is_closed(world: World) -> None:
    raw = await websocket(world, "/")
    await raw.send(client_frame(b'42["disconnect-me",true]'))
    await raw.close_code()
    raw.close()


async def breaks_socket_io(world: World) -> None:
    raw = await websocket(world, "/")
    await raw.send(client_frame(b"4nonsense"))
    await raw.close_code()
    raw.close()


async def breaks_websocket(world: World) -> None:
    raw = await websocket(world, "/")
    await raw.send(client_frame(b"3", masked=False))
    await raw.close_code()
    raw.close()


async def stops_within_a_message(world: World) -> None:
    raw = await websocket(world, "/")
    await raw.send(client_frame(b'42["message","', 0x01) + client_frame(b"and so on", 0x80)[:-2])
    raw.close()


async def reads_nothing(world: World) -> None:
    raw = await websocket(world, "/")
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
    sender = asyncio.create_task(send_for_ever(raw, client_frame(b'42["message","' + 500_000 * b"x" + b'"]')))
    await until(lambda: world.node.engine.counters.closed[reasons.SLOW_CONSUMER])
    with contextlib.suppress(ConnectionError):
        await sender
    raw.close()


async def is_told_that_the_node_drains(world: World) -> None:
    async with polling(world):
        raw = await websocket(world, "/")
        await world.node.engine.drain(100)
        raw.close()


async def waits_for_its_turn(world: World) -> None:
    before = [await websocket(world, "/") for _ in range(2)]
    raw = await websocket(world)
    await raw.send(client_frame(b"40"))
    await until(lambda: len(world.node._throttle))
    for one in (raw, *before):
        one.close()


async def polls_and_says_goodbye(world: World) -> None:
    async with polling(world) as client:
        poll = asyncio.create_task(client.poll())
        await until(lambda: world.node.engine.connections.by_sid[client.sid]._session.poll_waiting)
        await client.post(b"1")
        await poll


async def polls_much(world: World) -> None:
    async with polling(world) as client:
        await client.post(b'420["message-with-ack","' + 300_000 * b"x" + b'"]')
        await client.heard("430[")
        await client.post(b"1")


async def breaks_off_its_poll(world: World) -> None:
    async with polling(world) as client:
        poll = asyncio.create_task(client.poll())
        await until(lambda: world.node.engine.connections.by_sid[client.sid]._session.poll_waiting)
        poll.cancel()


async def polls_and_is_closed(world: World) -> None:
    async with polling(world) as client:
        await client.post(b'42["disconnect-me",true]')
        await client.heard("1")


async def upgrades(world: World) -> None:
    async with polling(world) as client:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", world.listener.port))
        await raw.send(upgrade_request(client.sid))
        await raw.head()
        await raw.send(client_frame(b"2probe"))
        await heard(raw, b"3probe")
        await raw.send(client_frame(b"5"))
        await raw.send(client_frame(b'420["message-with-ack",1]'))
        await heard(raw, b"430[1]")
        raw.close()


async def gives_its_upgrade_up(world: World) -> None:
    async with polling(world) as client:
        raw = Raw(*await asyncio.open_connection("127.0.0.1", world.listener.port))
        await raw.send(upgrade_request(client.sid))
        await raw.head()
        await raw.send(client_frame(b"9"))
        await raw.close_code()
        raw.close()
        await client.post(b"1")


async def asks_in_vain(world: World) -> None:
    for request in (
        b"nonsense\r\n\r\n",
        upgrade_request("unknown"),
        upgrade_request(query="EIO=3&transport=websocket"),
    ):
        raw = Raw(*await asyncio.open_connection("127.0.0.1", world.listener.port))
        await raw.send(request)
        await raw.rest()
        raw.close()


async def asks_for_other_pages(world: World) -> None:
    async with http_client(base_url=world.url) as http:
        for path in ("/healthz", "/nothing/here", "/socket.io/?EIO=4&transport=polling&sid=unknown"):
            await http.get(path)


LIVES = [
    hangs_up,
    closes_the_websocket,
    says_goodbye,
    resets,
    resets_after_an_answer,
    talks,
    sits_in_two_namespaces,
    never_connects,
    is_refused,
    leaves_before_it_is_accepted,
    is_disconnected,
    is_closed,
    breaks_socket_io,
    breaks_websocket,
    stops_within_a_message,
    reads_nothing,
    is_told_that_the_node_drains,
    waits_for_its_turn,
    polls_and_says_goodbye,
    polls_much,
    breaks_off_its_poll,
    polls_and_is_closed,
    upgrades,
    gives_its_upgrade_up,
    asks_in_vain,
    asks_for_other_pages,
]


@pytest.mark.parametrize("life", LIVES)
async def test_nothing_is_left_of_a_client_that(life: Callable[[World], Awaitable[None]]) -> None:
    before = {id(thing): thing for thing in objects()}  # what other tests have left

    def left() -> Counter[str]:
        world.app.facts.clear()
        kept = {
            id(part) for parser in world.node.engine.connections._parsers._free for part in (parser, parser.transport)
        }
        return Counter(type(thing).__name__ for thing in objects() if id(thing) not in before.keys() | kept)

    async with serving(Config(FAST, PING_TIMEOUT_MS=600, CONNECT_RATE=2), MemoryBroker()) as world:
        await life(world)
        with contextlib.suppress(TimeoutError):
            await until(lambda: not left())
        assert not left()
