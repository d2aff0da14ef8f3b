"""How a connection that polls ends: by a mistake, by silence, by either side, by a node that drains."""

import asyncio

import pytest

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons
from sio_cluster.testing.http import http_client

from ..serving import Raw, open_polling, serve, soon, until, waiting_poll

pytestmark = pytest.mark.slow


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
