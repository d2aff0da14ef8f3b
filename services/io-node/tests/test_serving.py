"""An io-node on a real socket, with the smallest application behind it: over the memory broker, and over Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import socketio
import websockets

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import AckReceived, ClientConnected, ClientDisconnected, ClientUpgraded
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.http import http_client

from .by_hand import Raw, open_raw
from .tiny_app import FAST, World, kinds, serving

pytestmark = pytest.mark.slow


@pytest.fixture(params=["memory", "redis"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        async with serving(Config(FAST), MemoryBroker()) as world:
            yield world
    else:
        redis: Config = request.getfixturevalue("redis_config")
        config = Config(FAST, REDIS_URL=redis.redis_url, REDIS_PREFIX=redis.redis_prefix)
        async with serving(config, None) as world:
            yield world


@pytest.fixture
async def raw(world: World) -> AsyncIterator[Raw]:
    async with open_raw(world) as raw:
        yield raw


# --- by hand


async def test_connect_event_ack_binary(world: World, raw: Raw) -> None:
    await raw.connect()
    await raw.send('42["message",1,"2",{"3":[true]}]')
    assert await raw.receive() == '42["message-back",1,"2",{"3":[true]}]'
    await raw.send('42456["message-with-ack",1,"2",{"3":[false]}]')
    assert await raw.receive() == '43456[1,"2",{"3":[false]}]'
    await raw.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    await raw.send(b"\x01\x02\x03", b"\x04")
    assert await raw.receive() == '462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert await raw.receive() == b"\x01\x02\x03"
    assert await raw.receive() == b"\x04"


async def test_auth_and_namespaces(world: World, raw: Raw) -> None:
    await raw.send('40/custom,{"token":"abc"}')
    assert str(await raw.receive()).startswith('40/custom,{"sid":"')
    assert await raw.receive() == '42/custom,["auth",{"token":"abc"}]'
    await raw.send("40/random")
    assert await raw.receive() == '44/random,{"message":"Invalid namespace"}'
    await raw.connect()
    await raw.send("41/custom,", '42["message","to main"]')
    assert await raw.receive() == '42["message-back","to main"]'


async def test_the_handshake_reaches_the_application(world: World) -> None:
    url = f"{world.ws_url}/socket.io/?EIO=4&transport=websocket&token=x%20y"
    async with websockets.connect(url, additional_headers={"X-Thing": "é".encode().decode("latin-1")}) as socket:
        raw = Raw(socket)
        await raw.receive()
        await raw.connect()
    (fact,) = kinds(world.app.facts, ClientConnected)
    assert fact.handshake.query == "EIO=4&transport=websocket&token=x%20y"
    assert ("x-thing", "é".encode().decode("latin-1")) in fact.handshake.headers
    assert fact.handshake.remote_addr == "127.0.0.1"
    assert fact.transport == "websocket"


async def test_five_hundred_events_in_order(world: World, raw: Raw) -> None:
    await raw.connect()
    await raw.send(*(f'42{number}["message-with-ack",{number}]' for number in range(500)))
    assert [await raw.receive() for _ in range(500)] == [f"43{number}[{number}]" for number in range(500)]


async def test_rooms_across_transports(world: World) -> None:
    async with open_raw(world) as ann, open_raw(world) as bob:
        for raw in (ann, bob):
            await raw.connect()
            await raw.send('421["join","red"]', '422["join","blue"]')
            assert [await raw.receive(), await raw.receive()] == ["431[]", "432[]"]
        await ann.send('451-["broadcast",["red","blue"],{"_placeholder":true,"num":0}]', b"\x07")
        for raw in (ann, bob):
            assert await raw.receive() == '451-["news",{"_placeholder":true,"num":0}]'
            assert await raw.receive() == b"\x07"
        await bob.send('42["message","last"]')  # bob is in both rooms: no second news comes before this
        assert await bob.receive() == '42["message-back","last"]'


async def test_the_application_asks(world: World, raw: Raw) -> None:
    sid = await raw.connect()
    await raw.send('42["ask-me"]')
    assert await raw.receive() == '427000000001["question"]'
    await raw.send("437000000001[1,null]", "437000000001[2]", "4312[3]")
    await world.app.wait_for(lambda facts: kinds(facts, AckReceived) != [])
    await raw.send('42["message","still here"]')
    assert await raw.receive() == '42["message-back","still here"]'
    assert kinds(world.app.facts, AckReceived) == [AckReceived(sid, 7_000_000_001, b"[1,null]")]
    assert world.node.client_counters.unexpected_acks == 2


async def test_server_side_disconnect(world: World, raw: Raw) -> None:
    custom, main = await raw.connect("/custom"), await raw.connect()
    await raw.send('42/custom,["disconnect-me"]')
    assert await raw.receive() == "41/custom,"
    await raw.send('42["disconnect-me",true]')
    assert await raw.receive() == "41"
    await raw.closed()
    await world.app.wait_for(lambda facts: len(kinds(facts, ClientDisconnected)) == 2)
    assert kinds(world.app.facts, ClientDisconnected) == [
        ClientDisconnected(custom, reasons.SERVER_DISCONNECT),
        ClientDisconnected(main, reasons.SERVER_DISCONNECT),
    ]


async def test_a_client_that_goes(world: World) -> None:
    async with open_raw(world) as raw:
        sid = await raw.connect()
    await world.app.wait_for(lambda facts: kinds(facts, ClientDisconnected) != [])
    assert kinds(world.app.facts, ClientDisconnected) == [ClientDisconnected(sid, reasons.TRANSPORT_CLOSE)]
    assert len(world.node.hub) == 0


# --- by polling


async def test_polling_by_hand(world: World) -> None:
    async with http_client(base_url=world.url) as http:
        opened = await http.get("/socket.io/?EIO=4&transport=polling")
        path = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opened.text[1:])['sid']}"
        assert (await http.post(path, content="40")).text == "ok"
        got: list[str] = []
        while len(got) < 2:
            got += (await http.get(path)).text.split("\x1e")
        assert got[0].startswith("40{")
        assert got[1] == '42["auth",{}]'
        burst = "\x1e".join(f'42{number}["message-with-ack",{number}]' for number in range(500))
        assert (await http.post(path, content=burst)).text == "ok"
        got = []
        while len(got) < 500:
            got += [packet for packet in (await http.get(path)).text.split("\x1e") if packet != "2"]
        assert got == [f"43{number}[{number}]" for number in range(500)]


async def test_a_malformed_packet_by_polling(world: World) -> None:
    async with http_client(base_url=world.url) as http:
        opened = await http.get("/socket.io/?EIO=4&transport=polling")
        path = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opened.text[1:])['sid']}"
        await http.post(path, content="40")
        async with asyncio.timeout(5):
            while world.node.engine.connections.waiting < 2:
                await asyncio.sleep(0.01)
        answer = await http.post(path, content="4garbage")
        assert (answer.status_code, answer.text) == (200, "ok")
        connected, greeting = (await http.get(path)).text.split("\x1e")
        assert connected.startswith("40{")
        assert greeting == '42["auth",{}]'
        assert (await http.get(path)).text == "1"
        assert (await http.get(path)).status_code == 400
        await world.app.wait_for(lambda facts: kinds(facts, ClientDisconnected) != [])
        assert kinds(world.app.facts, ClientDisconnected)[0].reason == reasons.PARSE_ERROR


async def test_an_upgrade_is_told_to_every_namespace(world: World) -> None:
    async with http_client(base_url=world.url) as http:
        opened = await http.get("/socket.io/?EIO=4&transport=polling")
        query = f"EIO=4&sid={json.loads(opened.text[1:])['sid']}"
        await http.post(f"/socket.io/?transport=polling&{query}", content="40\x1e40/custom,")
        await world.app.wait_for(lambda facts: len(kinds(facts, ClientConnected)) == 2)
        got: list[str] = []
        while len(got) < 4:
            got += (await http.get(f"/socket.io/?transport=polling&{query}")).text.split("\x1e")
        async with websockets.connect(f"{world.ws_url}/socket.io/?transport=websocket&{query}") as socket:
            raw = Raw(socket)
            await raw.send("2probe")
            assert await raw.receive() == "3probe"
            await raw.send("5", '42["message","by WebSocket"]')
            assert await raw.receive() == '42["message-back","by WebSocket"]'
            await world.app.wait_for(lambda facts: len(kinds(facts, ClientUpgraded)) == 2)
    sids = {fact.sid for fact in kinds(world.app.facts, ClientConnected)}
    assert {fact.sid for fact in kinds(world.app.facts, ClientUpgraded)} == sids


# --- the official Python client


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], None], ids=["websocket", "polling", "upgrade"])
async def test_python_client(world: World, transports: list[str] | None) -> None:
    client = socketio.AsyncClient(reconnection=False)
    greeted: asyncio.Queue[Any] = asyncio.Queue()
    back: asyncio.Queue[Any] = asyncio.Queue()
    client.on("auth", greeted.put_nowait)
    client.on("auth", greeted.put_nowait, namespace="/custom")
    client.on("message-back", lambda *args: back.put_nowait(args))
    client.on("question", lambda: ("yes", b"\x05"))
    async with asyncio.timeout(20):
        await client.connect(
            world.url, auth={"token": 1}, namespaces=["/", "/custom"], transports=transports, wait_timeout=5
        )
        assert await greeted.get() == {"token": 1}
        assert await greeted.get() == {"token": 1}
        if transports is None:
            assert client.transport() == "websocket"
        await client.emit("message", ("text", b"\x01\x02", {"deep": [b"\x03"]}))
        assert await back.get() == ("text", b"\x01\x02", {"deep": [b"\x03"]})
        assert await client.call("message-with-ack", ("a", b"b")) == ("a", b"b")
        await client.emit("ask-me")
        await world.app.wait_for(lambda facts: kinds(facts, AckReceived) != [])
        (answer,) = kinds(world.app.facts, AckReceived)
        assert json.loads(answer.data) == ["yes", {"_placeholder": True, "num": 0}]
        assert answer.attachments == [b"\x05"]
        await client.disconnect()
        await world.app.wait_for(lambda facts: len(kinds(facts, ClientDisconnected)) == 2)
    assert len(world.node.hub) == 0


async def test_python_client_is_refused(world: World) -> None:
    client = socketio.AsyncClient(reconnection=False)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(world.url, namespaces=["/nobody"], wait_timeout=5)
    await client.disconnect()
