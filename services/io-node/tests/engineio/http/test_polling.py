"""HTTP long-polling over real sockets: what the v4 suite covers, and what breaks servers."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from sio_cluster.testing.http import http_client

from ..serving import open_polling, serve, soon, until

pytestmark = pytest.mark.slow


async def test_open_packet() -> None:
    async with serve() as node, http_client() as client:
        response = await client.get(node.url())
        assert response.headers["content-type"] == "text/plain; charset=UTF-8"
        assert response.headers["cache-control"] == "no-store"
        fields = json.loads(response.text[1:])
        assert fields.pop("sid").startswith("test-aaaaaa.")
        assert fields == {
            "upgrades": ["websocket"],
            "pingInterval": 25000,
            "pingTimeout": 20000,
            "maxPayload": 1_000_000,
        }
        handshake = (await node.recorder()).connection.handshake
        assert (handshake.method, handshake.path, handshake.remote_addr) == ("GET", "/socket.io/", "127.0.0.1")
        assert handshake.query == "EIO=4&transport=polling"
        assert ("accept", "*/*") in handshake.headers


async def test_path_with_and_without_a_slash() -> None:
    async with serve(socketio_path="/a/b") as node, http_client() as client:
        for path in ("/a/b", "/a/b/"):
            query = {"EIO": "4", "transport": "polling"}
            assert (await client.get(f"http://127.0.0.1:{node.port}{path}", params=query)).text[0] == "0"
        assert (await client.get(f"http://127.0.0.1:{node.port}/a/bc")).text == "app:"


@pytest.mark.parametrize(
    ("method", "query", "code", "message"),
    [
        ("GET", "EIO=4", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=abc", 0, "Transport unknown"),
        ("GET", "EIO=4&transport=constructor", 0, "Transport unknown"),
        ("GET", "", 0, "Transport unknown"),
        ("GET", "&".join(["a=1"] * 200), 0, "Transport unknown"),
        ("GET", "EIO=4&transport=polling&sid=test-aaaaaa.AAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("GET", "EIO=4&transport=polling&sid=dead-bbbbbb.AAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling&sid=%00%ff", 1, "Session ID unknown"),
        ("POST", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("PUT", "EIO=4&transport=polling", 2, "Bad handshake method"),
        ("GET", "EIO=4&transport=websocket", 3, "Bad request"),
        ("GET", "transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=3&transport=polling", 5, "Unsupported protocol version"),
        ("GET", "EIO=abc&transport=polling", 5, "Unsupported protocol version"),
    ],
)
async def test_refusals(method: str, query: str, code: int, message: str) -> None:
    async with serve() as node, http_client() as client:
        response = await client.request(method, f"http://127.0.0.1:{node.port}/socket.io/?{query}")
        assert response.status_code == 400
        assert response.json() == {"code": code, "message": message}
        assert response.headers["content-type"] == "application/json"
        assert node.engine.counters.refused == {message: 1}


async def test_transports_may_be_limited() -> None:
    async with serve(transports="websocket") as node, http_client() as client:
        assert (await client.get(node.url())).json()["code"] == 0
    async with serve(transports="polling") as node, http_client() as client:
        assert json.loads((await client.get(node.url())).text[1:])["upgrades"] == []


async def test_a_node_that_is_not_ready_says_503_and_keeps_the_connection() -> None:
    async with serve() as node, http_client() as client:
        node.accepts = False
        refused = await client.get(node.url())
        assert refused.status_code == 503
        assert "connection" not in refused.headers
        assert not node.engine.connections
        node.accepts = True
        assert (await client.get(node.url())).status_code == 200


async def test_a_node_that_drains_says_503_and_closes_the_connection() -> None:
    """A client behind a balancer of TCP connections would come back to this node by the same one."""
    async with serve() as node, http_client() as client:
        node.accepts = False
        await node.engine.drain(0)
        refused = await client.get(node.url())
        assert (refused.status_code, refused.json()["message"]) == (503, "Not accepting connections")
        assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("body", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA==", "4€😀\x00"])
async def test_echo(body: str) -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        response = await client.post(node.url(sid), content=body.encode())
        assert (response.status_code, response.text) == (200, "ok")
        assert (await client.get(node.url(sid))).text == body


async def test_500_messages_in_one_burst_both_ways() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        body = "\x1e".join(f"4{number}" for number in range(500))
        assert (await client.post(node.url(sid), content=body)).text == "ok"
        got = ""
        while got.count("\x1e") < 499:
            got += ("\x1e" if got else "") + (await client.get(node.url(sid))).text
        assert got == body


async def test_a_chunked_post() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"4he"
        yield b"llo"

    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        assert (await client.post(node.url(sid), content=chunks())).text == "ok"
        assert (await client.get(node.url(sid))).text == "4hello"


@pytest.mark.parametrize("packet", [b"3", b"6", b"4a"])
async def test_a_post_of_many_tiny_packets_gives_others_their_turn(packet: bytes) -> None:
    """Also where packets have no effect: half a million of them in one payload took 0.4 s in one turn."""
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        connection = node.engine.connections.by_sid[sid]
        (await node.recorder()).echo = False
        posting = asyncio.ensure_future(connection.polls.post(b"\x1e".join([packet] * 2_000)))
        turns = 0
        while not posting.done():
            await asyncio.sleep(0)
            turns += 1
        assert posting.result()
        assert turns >= 10


@pytest.mark.parametrize("content_type", ["application/octet-stream", "text/plain;charset=UTF-8", ""])
async def test_a_payload_may_have_any_content_type(content_type: str) -> None:
    """Clients of python-engineio before 4.3 call it application/octet-stream."""
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        headers = {"content-type": content_type}
        assert (await client.post(node.url(sid), content=b"4a\x1ebAQI=", headers=headers)).status_code == 200
        assert (await client.get(node.url(sid))).text == "4a\x1ebAQI="


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversized_post_is_413_and_the_session_lives(chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"4" * 1000

    async with serve(max_payload_bytes=10_000) as node, http_client() as client:
        sid = await open_polling(node, client)
        response = await client.post(node.url(sid), content=chunks() if chunked else b"4" * 10_001)
        assert response.status_code == 413
        assert (await client.post(node.url(sid), content=b"4" * 10_000)).text == "ok"


async def test_other_methods_with_a_sid_are_refused() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        for method in ("PUT", "DELETE", "PATCH", "HEAD"):
            assert (await client.request(method, node.url(sid))).status_code == 400
        assert (await client.get(node.url(sid, "websocket"))).json()["code"] == 3
        assert (await client.post(node.url(sid), content="4a")).text == "ok"


async def test_ping_pong() -> None:
    began = asyncio.get_running_loop().time()
    async with serve(ping_interval_ms=60, ping_timeout_ms=3_000) as node, http_client() as client:
        sid = await open_polling(node, client)
        for _ in range(3):
            assert (await soon(client.get(node.url(sid)))).text == "2"
            assert (await client.post(node.url(sid), content="3")).text == "ok"
    assert asyncio.get_running_loop().time() - began < 1.5, "the next PING waited for the end of the timeout"


async def test_a_paused_connection_takes_no_post_until_it_resumes() -> None:
    async with serve(request_timeout_ms=5_000) as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        recorder.connection.pause_reading()
        recorder.connection.pause_reading()
        post = asyncio.create_task(client.post(node.url(sid), content="4a"))
        await until(lambda: node.engine.connections.by_sid[sid].polls._posting)
        assert recorder.messages.empty()
        recorder.connection.resume_reading()
        recorder.connection.resume_reading()
        assert (await soon(post)).text == "ok"
        assert await soon(recorder.messages.get()) == "a"
