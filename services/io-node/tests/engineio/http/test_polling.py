"""HTTP long-polling over real sockets: what the v4 suite covers, and what breaks servers."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons
from sio_cluster.testing.http import http_client

from ..serving import Raw, open_polling, serve, soon, until, waiting_poll

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


@pytest.mark.parametrize("body", [b"abc", b"", b"4a\x1e", b"b!!!!", b"4\xff", b"0"])
async def test_malformed_posts_close(body: bytes) -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        poll = asyncio.create_task(client.get(node.url(sid)))
        async with http_client() as other:
            assert (await other.post(node.url(sid), content=body)).status_code == 400
            assert (await soon(poll)).text == "1"
            assert (await other.get(node.url(sid))).json()["code"] == 1
        assert await soon(recorder.closed.get()) == reasons.PARSE_ERROR
        assert node.engine.counters.malformed == 1
        assert node.engine.counters.closed == {reasons.PARSE_ERROR: 1}
        assert recorder.messages.qsize() == (1 if body[:2] == b"4a" else 0), "what stood before it"


async def test_malformed_messages_close_after_what_is_queued() -> None:
    """The POST was fine, and the next poll has what was queued. CLOSE comes with the one after."""
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        answer = await client.post(node.url(sid), content=b"4ok\x1e4malformed\x1e4never")
        assert (answer.status_code, answer.text) == (200, "ok")
        assert (await client.post(node.url(sid), content=b"4never")).text == "ok"
        assert recorder.closed.empty()
        assert (await client.get(node.url(sid))).text == "4ok"
        assert (await client.get(node.url(sid))).text == "1"
        assert (await client.get(node.url(sid))).json()["code"] == 1
        assert await soon(recorder.closed.get()) == reasons.PARSE_ERROR
        assert recorder.messages.qsize() == 1, "what stood before it"
        assert node.engine.counters.malformed == 1
        assert node.engine.counters.dropped == {}


async def test_malformed_messages_end_a_poll_that_waits() -> None:
    async with serve() as node, http_client() as client, http_client() as other:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        poll = asyncio.create_task(client.get(node.url(sid)))
        await until(lambda: node.engine.connections.by_sid[sid]._session.poll_waiting)
        assert (await other.post(node.url(sid), content=b"4malformed")).text == "ok"
        assert (await soon(poll)).text == "1"
        assert await soon(recorder.closed.get()) == reasons.PARSE_ERROR


async def test_a_client_that_does_not_fetch_the_close_is_forgotten() -> None:
    async with serve(ping_timeout_ms=100) as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        await client.post(node.url(sid), content=b"4malformed")
        assert await soon(recorder.closed.get()) == reasons.PARSE_ERROR
        assert not node.engine.connections


async def test_a_handler_with_a_bug_closes_its_own_session_alone() -> None:
    async with serve() as node, http_client() as client:
        sid, other = await open_polling(node, client), await open_polling(node, client)
        recorder = await node.recorder()
        assert (await client.post(node.url(sid), content="4bug\x1e4never")).status_code == 500
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_ERROR
        assert recorder.messages.empty()
        assert (await client.post(node.url(other), content="4a")).text == "ok"


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


async def test_two_polls_at_once_close() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        first = asyncio.create_task(client.get(node.url(sid)))
        await waiting_poll(node, sid)
        second = await client.get(node.url(sid))
        assert ((await first).status_code, (await first).text) == (200, "1")
        assert second.status_code == 400
        assert (await client.get(node.url(sid))).status_code == 400
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_ERROR


async def test_two_posts_at_once_close() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        raw = await Raw.connect(node)
        await raw.send(f"POST {node.url(sid)} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4hal".encode())
        await until(lambda: node.engine.connections.by_sid[sid].polls._posting)
        assert (await client.post(node.url(sid), content="4a")).status_code == 400
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_ERROR
        raw.close()


async def test_a_cancelled_poll_closes() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        raw = await Raw.connect(node)
        await raw.send(f"GET {node.url(sid)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await waiting_poll(node, sid)
        raw.close()
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_ERROR
        assert (await client.get(node.url(sid))).status_code == 400


async def test_a_post_that_breaks_off_closes() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        raw = await Raw.connect(node)
        await raw.send(f"POST {node.url(sid)} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4hal".encode())
        raw.close()
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_ERROR
        assert recorder.messages.empty()


async def test_a_close_packet_closes() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        poll = asyncio.create_task(client.get(node.url(sid)))
        await waiting_poll(node, sid)
        assert (await client.post(node.url(sid), content="1")).text == "ok"
        assert (await poll).text == "6"
        assert (await client.get(node.url(sid))).status_code == 400
        assert await soon(recorder.closed.get()) == reasons.CLIENT_DISCONNECT


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


async def test_ping_timeout_is_precise() -> None:
    async with serve(ping_interval_ms=300, ping_timeout_ms=200) as node, http_client() as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await open_polling(node, client)
        opened = loop.time()
        recorder = await node.recorder()
        assert await soon(recorder.closed.get()) == reasons.PING_TIMEOUT
        assert loop.time() - began >= 0.5
        assert loop.time() - opened < 0.6


async def test_a_session_whose_time_is_over_is_unknown_at_once() -> None:
    """The wheel may be a moment late; a request is judged by the clock."""
    async with serve(ping_interval_ms=300, ping_timeout_ms=200) as node, http_client() as client:
        sid = await open_polling(node, client)
        node.engine.wheel.stop()
        node.engine.connections.by_sid[sid]._session.heartbeat.due_at = 0.0
        node.engine.connections.by_sid[sid]._session.heartbeat.pong_due = True
        assert (await client.get(node.url(sid))).json()["code"] == 1


async def test_the_server_closes_behind_what_it_sent() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        recorder.connection.send(Outbound(b"bye"))
        recorder.connection.close(reasons.SERVER_DISCONNECT)
        recorder.connection.close(reasons.SERVER_DISCONNECT)
        assert (await client.get(node.url(sid))).text == "4bye"
        assert recorder.closed.empty()
        assert (await client.get(node.url(sid))).text == "1"
        assert await soon(recorder.closed.get()) == reasons.SERVER_DISCONNECT
        assert recorder.closed.empty()


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


async def test_a_post_under_way_while_the_node_drains_is_taken() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        raw = await Raw.connect(node)
        head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: localhost\r\n"
        await raw.send(f"{head}Content-Length: 9\r\n\r\n4one".encode())
        polling = asyncio.create_task(client.get(node.url(sid)))
        connection = node.engine.connections.by_sid[sid]
        await until(lambda: connection._session.poll_waiting and connection.polls._posting)
        draining = asyncio.create_task(node.engine.drain(4_000))
        assert (await soon(polling)).status_code == 400  # as for an unknown session
        await raw.send(b"\x1e4two")
        assert (await raw.head()).startswith("HTTP/1.1 200 ")
        assert [recorder.messages.get_nowait() for _ in range(2)] == ["one", "two"]
        assert (await client.post(node.url(sid), content=b"4three")).status_code == 200
        assert recorder.messages.get_nowait() == "three"
        assert (await client.get(node.url(sid))).status_code == 400
        assert recorder.closed.empty()
        assert await soon(recorder.closed.get()) == reasons.NODE_DRAINED
        assert (await client.post(node.url(sid), content=b"4late")).status_code == 400
        await soon(draining)
        raw.close()


async def test_a_client_that_says_close_since_the_node_drains_hears_of_the_drain() -> None:
    """Socket.IO's JavaScript client does that when its poll is answered by 400."""
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        polling = asyncio.create_task(client.get(node.url(sid)))
        await until(lambda: node.engine.connections.by_sid[sid]._session.poll_waiting)
        draining = asyncio.create_task(node.engine.drain(4_000))
        assert (await soon(polling)).status_code == 400
        assert (await client.post(node.url(sid), content=b"1")).status_code == 200
        assert await soon(recorder.closed.get()) == reasons.NODE_DRAINED
        await soon(draining)
