"""The HTTP protocol: handshakes, timeouts, and what belongs to the user's application."""

import asyncio
import json
from collections.abc import Callable

import pytest
from websockets.asyncio.client import connect

from io_node.engineio.api import Outbound
from io_node.turns import Turns
from sio_cluster.protocol import reasons
from sio_cluster.testing.http import http_client

from ..serving import Raw, open_polling, serve, soon, until, upgrade_request

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (upgrade_request(query="EIO=4"), 400, 0),
        (upgrade_request(query="EIO=4&transport=abc"), 400, 0),
        (upgrade_request(query="EIO=4&transport=polling"), 400, 0),
        (upgrade_request(query="transport=websocket"), 400, 5),
        (upgrade_request(query="EIO=3&transport=websocket"), 400, 5),
        (upgrade_request().replace(b"GET", b"POST"), 400, 2),
        (upgrade_request().replace(b"Version: 13", b"Version: 8"), 426, 3),
        (upgrade_request().replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"c2hvcnQ="), 400, 3),
        (upgrade_request().replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"!!!"), 400, 3),
        (upgrade_request(headers="Origin: http://evil.example\r\n"), 403, 4),
    ],
)
async def test_bad_upgrades_are_refused_before_101(request_: bytes, status: int, code: int) -> None:
    async with serve() as node:
        raw = await Raw.connect(node)
        await raw.send(request_)
        head = await raw.head()
        assert head.startswith(f"HTTP/1.1 {status} "), head
        assert json.loads(await raw.rest())["code"] == code
        assert not node.engine.connections
        raw.close()


async def test_a_full_node_refuses_websockets_by_503() -> None:
    async with serve() as node:
        node.accepts = False
        raw = await Raw.connect(node)
        await raw.send(upgrade_request())
        assert (await raw.head()).startswith("HTTP/1.1 503 ")
        raw.close()


async def test_the_applications_own_paths_and_websockets() -> None:
    async with serve() as node, http_client() as client:
        assert (await client.post(f"http://127.0.0.1:{node.port}/upload", content=b"x" * 300_000)).text == (
            "app:" + "x" * 300_000
        )
        async with connect(f"ws://127.0.0.1:{node.port}/own") as socket:
            assert await soon(socket.recv()) == "the application's own"


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\r\n",
        b"GET /socket.io/?EIO=4",
        b"GET /elsewhere HTTP/1.1\r\nHost: x\r\nSlow: ",
        upgrade_request()[:-10],
        b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\nGET /slow HTTP/1.1\r\nHos",
    ],
)
async def test_a_slow_loris_is_cut_off(start: bytes) -> None:
    async with serve(request_timeout_ms=200) as node:
        raw = await Raw.connect(node)
        await raw.send(start)
        assert b"408" in await raw.rest()
        assert node.engine.counters.refused["Request took too long"] == 1
        raw.close()


async def test_dripping_does_not_help_a_slow_loris() -> None:
    async with serve(request_timeout_ms=200) as node:
        raw = await Raw.connect(node)
        await raw.send(upgrade_request()[:60])
        reading = asyncio.create_task(raw.rest())
        async with asyncio.timeout(2):
            while not reading.done():
                raw.writer.write(b"X")
                await asyncio.sleep(0.02)
        assert b"408" in reading.result()
        raw.close()


async def test_a_client_that_still_sends_gets_the_refusal_whole() -> None:
    """Else its system would answer the late input by a reset, and the refusal might be lost."""
    async with serve(request_timeout_ms=200) as node:
        raw = await Raw.connect(node)
        await raw.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000)
        assert (await raw.head()).startswith("HTTP/1.1 431 ")
        assert json.loads(await raw.rest())["code"] == 3
        for _ in range(20):
            await raw.send(b"x" * 100_000)
        assert len(node.http_connections) == 1
        raw.close()
        await until(lambda: not node.http_connections)


async def test_a_client_that_never_closes_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("io_node.engineio.http.protocol._LINGER_S", 0.1)
    async with serve() as node:
        raw = await Raw.connect(node)
        await raw.send(upgrade_request(query="EIO=4"))
        assert (await raw.head()).startswith("HTTP/1.1 400 ")
        await until(lambda: not node.http_connections)
        raw.close()


async def test_a_body_that_does_not_come_is_408_and_closes_the_session() -> None:
    async with serve(request_timeout_ms=200) as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        raw = await Raw.connect(node)
        await raw.send(f"POST {node.url(sid)} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4hal".encode())
        assert (await raw.head()).startswith("HTTP/1.1 408 ")
        assert await soon(recorder.closed.get()) == "transport error"
        raw.close()


async def test_a_long_poll_outlives_the_request_timeout() -> None:
    async with serve(request_timeout_ms=100, ping_interval_ms=400) as node, http_client() as client:
        sid = await open_polling(node, client)
        assert (await soon(client.get(node.url(sid)))).text == "2"


async def test_a_client_that_does_not_read_its_poll_is_dropped() -> None:
    async with serve(ping_timeout_ms=300) as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        raw = await Raw.connect(node)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        recorder.connection.send(Outbound(b"x" * 8_000_000))
        await raw.send(f"GET {node.url(sid)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: len(node.http_connections) == 2)
        await until(lambda: len(node.http_connections) == 1)
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await raw.rest()) < 8_000_000
        assert await soon(recorder.closed.get()) == reasons.SLOW_CONSUMER
        raw.close()


async def test_the_applications_upload_may_take_longer() -> None:
    async with serve(request_timeout_ms=100) as node:
        raw = await Raw.connect(node)
        await raw.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.reader.read(1), 0.4)
        await raw.send(b"b")
        assert (await raw.head()).startswith("HTTP/1.1 200 ")
        raw.close()


async def test_an_endless_head_is_431() -> None:
    async with serve() as node:
        raw = await Raw.connect(node)
        raw.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 11_000)
        assert b"HTTP/1.1 431 " in await raw.rest()
        raw.close()


async def test_a_proxy_that_is_trusted_names_the_client() -> None:
    headers = {"x-forwarded-for": "203.0.113.9", "x-forwarded-proto": "https"}
    async with serve() as node, connect(node.ws_url(), additional_headers=headers):
        handshake = (await node.recorder()).connection.handshake
        assert (handshake.remote_addr, handshake.scheme) == ("203.0.113.9", "https")
        assert ("x-forwarded-for", "203.0.113.9") in handshake.headers


@pytest.mark.parametrize("upgrade", ["", "Upgrade: websocket\r\nConnection: Upgrade\r\n"])
async def test_bytes_beyond_ascii_in_a_url_are_encoded(upgrade: str) -> None:
    async with serve() as node:
        raw = await Raw.connect(node)
        await raw.send(
            f"GET /socket.io/?EIO=4&transport=nothing&name=Jürgen HTTP/1.1\r\nHost: ü\r\n{upgrade}\r\n".encode()
        )
        assert "Transport unknown" in (await raw.reader.read(4096)).decode()
        raw.close()


async def test_a_request_that_waits_for_its_turn_is_not_late(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(request_timeout_ms=100) as node:
        raw = await Raw.connect(node)
        waiting: list[Callable[[], None]] = []
        monkeypatch.setattr(Turns, "add", lambda turns, work: waiting.append(work))  # the loop is busy
        await raw.send(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        await until(lambda: waiting)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(raw.reader.read(1), 0.4)
        monkeypatch.undo()
        waiting[0]()
        assert (await raw.head()).startswith("HTTP/1.1 200 ")
        raw.close()
