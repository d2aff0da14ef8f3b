"""An io-node on a real socket, with the smallest application behind it: over the memory broker, and over Redis."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import socketio
import websockets
from websockets.asyncio.client import ClientConnection

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import AckReceived, ClientConnected, ClientDisconnected, ClientUpgraded, Fact
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.valkey import start_valkey

from .tiny_app import World, serving

pytestmark = pytest.mark.slow

FAST: dict[str, Any] = {"HTTP_PORT": 0, "LANES": 4, "HEARTBEAT_MS": 100, "NODE_TIMEOUT_MS": 2_000, "DRAIN_MS": 200}


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
async def memory_world() -> AsyncIterator[World]:
    async with serving(Config(FAST, CONNECT_TIMEOUT_MS=300, MAX_NAMESPACES=2), MemoryBroker()) as world:
        yield world


class Raw:
    """A WebSocket client that speaks the protocols by hand."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            await self.socket.send(message)

    async def receive(self) -> str | bytes:
        """The next message; PINGs are answered."""
        async with asyncio.timeout(5):
            while (message := await self.socket.recv()) == "2":
                await self.socket.send("3")
            return message

    async def connect(self, namespace: str = "/") -> str:
        """Join; the sid. The tiny application's greeting is consumed."""
        prefix = "" if namespace == "/" else f"{namespace},"
        await self.send(f"40{prefix}")
        answer = await self.receive()
        assert isinstance(answer, str)
        assert answer.startswith(f"40{prefix}")
        assert await self.receive() == f'42{prefix}["auth",{{}}]'
        return str(json.loads(answer[2 + len(prefix) :])["sid"])

    async def closed(self) -> None:
        async with asyncio.timeout(5):
            await self.socket.wait_closed()


@pytest.fixture
async def raw(world: World) -> AsyncIterator[Raw]:
    async with open_raw(world) as raw:
        yield raw


class open_raw:
    def __init__(self, world: World) -> None:
        self._connecting = websockets.connect(f"{world.ws_url}/socket.io/?EIO=4&transport=websocket")

    async def __aenter__(self) -> Raw:
        raw = Raw(await self._connecting.__aenter__())
        assert str(await raw.receive()).startswith("0{")
        return raw

    async def __aexit__(self, *error: Any) -> None:
        await self._connecting.__aexit__(*error)


def kinds(facts: list[Fact], kind: type) -> list[Any]:
    return [fact for fact in facts if isinstance(fact, kind)]


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


@pytest.mark.parametrize(
    "messages",
    [
        ["4abc"],
        ["4"],
        ["42{}"],
        ['42abc["message"]'],
        ['42["connect"]'],
        ['42["disconnect","x"]'],
        ['42["x",NaN]'],
        ['42["x",1e999]'],
        ['42["x",' + "[" * 20_000 + "]" * 20_000 + "]"],
        ['42/other,["x"]'],
        ["40"],
        ["44{}"],
        ["43[]"],
        ['451000000-["x"]'],
        ['451-["x",{"_placeholder":true,"num":-1}]'],
        ['451-["x"]', '42["text in its place"]'],
        [b"surplus"],
    ],
    ids=lambda messages: repr(messages)[:60],
)
async def test_bad_input_closes_its_sender_and_nobody_else(memory_world: World, messages: list[str | bytes]) -> None:
    async with open_raw(memory_world) as bystander, open_raw(memory_world) as attacker:
        await bystander.connect()
        sid = await attacker.connect()
        await attacker.send(*messages)
        await attacker.closed()
        await memory_world.app.wait_for(lambda facts: kinds(facts, ClientDisconnected) != [])
        assert kinds(memory_world.app.facts, ClientDisconnected) == [ClientDisconnected(sid, reasons.PARSE_ERROR)]
        await bystander.send('421["message-with-ack","fine"]')
        assert await bystander.receive() == '431["fine"]'


@pytest.mark.parametrize("message", ['42["x"]', "41", "431[]", "4"])
async def test_anything_before_connect_closes(memory_world: World, message: str) -> None:
    async with open_raw(memory_world) as raw:
        await raw.send(message)
        await raw.closed()


async def test_no_connect_in_time(memory_world: World) -> None:
    async with open_raw(memory_world) as raw:
        await raw.closed()


async def test_thousands_of_namespaces(memory_world: World) -> None:
    async with open_raw(memory_world) as raw:
        await raw.connect()
        await raw.connect("/custom")
        for number in range(2_000):
            await raw.send(f"40/{number},")
        for number in range(2_000):
            assert await raw.receive() == f'44/{number},{{"message":"Too many namespaces"}}'
        assert len(memory_world.node.hub) == 2


# --- by polling


async def test_polling_by_hand(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.url) as http:
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
    async with httpx.AsyncClient(base_url=world.url) as http:
        opened = await http.get("/socket.io/?EIO=4&transport=polling")
        path = f"/socket.io/?EIO=4&transport=polling&sid={json.loads(opened.text[1:])['sid']}"
        await http.post(path, content="40")
        async with asyncio.timeout(5):
            while world.node.engine.connections.waiting < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        answer = await http.post(path, content="4garbage")
        assert (answer.status_code, answer.text) == (200, "ok")
        connected, greeting, close = (await http.get(path)).text.split("\x1e")
        assert connected.startswith("40{")
        assert (greeting, close) == ('42["auth",{}]', "1")
        assert (await http.get(path)).status_code == 400
        await world.app.wait_for(lambda facts: kinds(facts, ClientDisconnected) != [])
        assert kinds(world.app.facts, ClientDisconnected)[0].reason == reasons.PARSE_ERROR


async def test_an_upgrade_is_told_to_every_namespace(world: World) -> None:
    async with httpx.AsyncClient(base_url=world.url) as http:
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


# --- the application away


async def test_connects_wait_for_the_application(memory_world: World) -> None:
    app = memory_world.app
    app.accepting = False
    async with open_raw(memory_world) as raw:
        await raw.send("40")
        await app.wait_for(lambda facts: kinds(facts, ClientConnected) != [])
        (fact,) = kinds(app.facts, ClientConnected)
        await app.send(fact.sid, *app._connect(fact))
        assert await raw.receive() == f'40{{"sid":"{fact.sid}"}}'


async def test_redis_stalls_and_comes_back() -> None:
    """Clients stay, both directions go on in order, nothing is lost or doubled."""
    with start_valkey() as server:
        config = Config(FAST, REDIS_URL=server.url, UPLINK_BUFFER_BYTES=20_000)
        async with serving(config, None) as world, open_raw(world) as raw:
            sid = await raw.connect()
            server.pause()
            sending = asyncio.create_task(
                raw.send(*(f'42{number}["message-with-ack",{number},"{"x" * 1_000}"]' for number in range(2_000)))
            )
            async with asyncio.timeout(10):
                while world.node.backpressure.pauses == 0:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            server.resume()
            for number in range(2_000):
                answer = await raw.receive()
                assert isinstance(answer, str)
                assert answer.startswith(f"43{number}[{number},")
            await sending
            counters = world.node.client_counters
            assert counters.events == 2_000
            assert sid in world.node.hub


async def test_redis_loses_its_data() -> None:
    """The node registers anew and stores its clients' records again."""
    broker = MemoryBroker()
    async with serving(Config(FAST), broker) as world, open_raw(world) as raw:
        sid = await raw.connect()
        await raw.send('421["join","red"]')
        assert await raw.receive() == "431[]"
        broker.lose_data()
        async with asyncio.timeout(5):
            while sid not in broker.clients or not broker.clients[sid].rooms:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert broker.clients[sid].accepted
        assert broker.clients[sid].rooms == {"red"}
        assert world.node.node_id in broker.io_nodes
        await raw.send('422["message-with-ack","still here"]')
        assert await raw.receive() == '432["still here"]'


async def test_a_node_that_was_declared_lost_lets_its_clients_go() -> None:
    broker = MemoryBroker()
    async with serving(Config(FAST), broker) as world, open_raw(world) as raw:
        await raw.connect()
        del broker.io_nodes[world.node.node_id]
        await raw.closed()
        async with asyncio.timeout(5):
            while world.node.node_id not in broker.io_nodes:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with open_raw(world) as again:
            await again.connect()
