"""Slow clients on real sockets: who reads slowly stays, who reads nothing goes, and the node's memory has a bound.

The kernel takes some megabytes for each connection, so much is sent. PING_TIMEOUT_MS is short here.
"""

import asyncio
import json

import pytest

from io_node.engineio.api import Connection, Outbound
from sio_cluster.protocol import reasons

from .serving import Node, Raw, serve, soon, until

pytestmark = pytest.mark.slow

TIMEOUT_MS = 1_000
MESSAGE = b"x" * 500_000


def stop_reading(raw: Raw) -> None:
    raw.writer.transport.pause_reading()  # type: ignore[attr-defined]


async def read_slowly(raw: Raw, total: int) -> int:
    """Read so many bytes, over some 3 s."""
    got = 0
    while got < total:
        data = await soon(raw.reader.read(1 << 20))
        if not data:
            break
        got += len(data)
        await asyncio.sleep(3 * len(data) / total)  # the pace of the client, which the test is about
    return got


async def test_a_websocket_that_reads_slowly_gets_everything() -> None:
    async with serve(ping_timeout_ms=TIMEOUT_MS) as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        for _ in range(60):
            recorder.connection.send(Outbound(MESSAGE))
        assert await read_slowly(raw, 60 * 500_000) >= 60 * 500_000
        assert recorder.closed.empty()
        assert node.engine.connections.buffers.waiting_bytes == 0
        raw.close()


async def test_what_was_sent_before_the_end_reaches_a_websocket_that_reads_slowly() -> None:
    async with serve(ping_timeout_ms=TIMEOUT_MS) as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        for _ in range(60):
            recorder.connection.send(Outbound(MESSAGE))
        recorder.connection.close(reasons.SERVER_DISCONNECT)
        assert await read_slowly(raw, 60 * 500_000) >= 60 * 500_000
        assert await soon(recorder.closed.get()) == reasons.SERVER_DISCONNECT
        raw.close()


async def test_a_websocket_that_reads_nothing_is_closed() -> None:
    async with serve(ping_timeout_ms=TIMEOUT_MS) as node:
        raw = await Raw.websocket(node)
        stop_reading(raw)
        recorder = await node.recorder()
        for _ in range(60):
            recorder.connection.send(Outbound(MESSAGE))
        assert await soon(recorder.closed.get()) == reasons.SLOW_CONSUMER
        assert node.engine.counters.slow_consumers == {"stalled": 1}
        assert node.engine.connections.buffers.waiting_bytes == 0
        raw.close()


async def open_polling(node: Node) -> tuple[Raw, str, Connection]:
    raw = await Raw.connect(node)
    head, body = await get(raw, node, "")
    assert head.startswith("HTTP/1.1 200 ")
    return raw, str(json.loads(body[1:])["sid"]), (await node.recorder()).connection


async def get(raw: Raw, node: Node, sid: str) -> tuple[str, bytes]:
    await raw.send(f"GET {node.url(sid)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = await raw.head()
    return head, await soon(raw.reader.readexactly(length_of(head)))


def length_of(head: str) -> int:
    return int(head.lower().partition("content-length: ")[2].split("\r")[0])


async def test_a_burst_to_a_polling_client_comes_in_several_payloads() -> None:
    async with serve() as node:
        raw, sid, connection = await open_polling(node)
        for _ in range(40):
            connection.send(Outbound(MESSAGE[:100_000]))
        got = 0
        while got < 40 * 100_000:
            _, body = await get(raw, node, sid)
            assert len(body) <= 300_000
            got += body.count(b"x")
        assert node.engine.connections.buffers.waiting_bytes == 0
        raw.close()


async def test_one_large_payload_to_a_polling_client_that_reads_slowly() -> None:
    """The kernel has taken the end of it some time before the client reads that."""
    async with serve(ping_timeout_ms=2 * TIMEOUT_MS) as node:
        raw, sid, connection = await open_polling(node)
        connection.send(Outbound(b"x" * 30_000_000))
        connection.send(Outbound(b"after"))
        await raw.send(f"GET {node.url(sid)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        length = length_of(await raw.head())
        posting = asyncio.create_task(post_for_ever(node, sid))
        assert await read_slowly(raw, length) == length
        assert not posting.done()
        posting.cancel()
        assert (await get(raw, node, sid))[1] == b"4after"
        raw.close()


async def test_a_second_poll_before_the_first_answer_is_read_closes() -> None:
    """Else a client could let many answers wait that it never reads."""
    async with serve() as node:
        raw, sid, connection = await open_polling(node)
        stop_reading(raw)
        connection.send(Outbound(b"x" * 30_000_000))
        await raw.send(f"GET {node.url(sid)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await until(lambda: node.engine.connections.buffers.waiting_bytes > 10_000_000)
        other = await Raw.connect(node)
        head, _ = await get(other, node, sid)
        assert head.startswith("HTTP/1.1 400 ")
        assert node.engine.counters.closed == {reasons.TRANSPORT_ERROR: 1}
        assert node.engine.connections.buffers.waiting_bytes == 0
        await until(lambda: len(node.http_connections) == 1)
        raw.close()
        other.close()


async def post_for_ever(node: Node, sid: str) -> None:
    """Each request looks at the deadlines of its session."""
    raw = await Raw.connect(node)
    while True:
        await raw.send(f"POST {node.url(sid)} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n3".encode())
        assert (await raw.head()).startswith("HTTP/1.1 200 ")
        assert await soon(raw.reader.readexactly(2)) == b"ok"
        await asyncio.sleep(0.01)


async def test_memory_is_bounded_for_the_node_and_the_largest_go_first() -> None:
    async with serve(downlink_buffer_bytes=30_000_000) as node:
        slow = [await Raw.websocket(node) for _ in range(4)]
        recorders = [await node.recorder() for _ in slow]
        healthy = await Raw.websocket(node)
        reads = await node.recorder()
        for raw in slow:
            stop_reading(raw)
        for recorder in recorders:
            for _ in range(20):
                recorder.connection.send(Outbound(b"y" * 500_000))
        await until(lambda: node.engine.connections.buffers.waiting_bytes > 10_000_000)
        assert all(recorder.closed.empty() for recorder in recorders)
        for _ in range(40):
            recorders[2].connection.send(Outbound(b"z" * 500_000))
            await asyncio.sleep(0)
        assert await soon(recorders[2].closed.get()) == reasons.SLOW_CONSUMER
        assert node.engine.counters.slow_consumers == {"buffer_full": 1}
        assert node.engine.connections.buffers.waiting_bytes < 30_000_000
        assert [recorder.closed.empty() for recorder in recorders] == [True, True, True, True]
        reads.connection.send(Outbound(b"fine"))
        assert await healthy.frame() == (0x81, b"4fine")
        for raw in (*slow, healthy):
            raw.close()


async def test_a_message_to_everybody_fills_little() -> None:
    """It waits for all of them, but in memory it is one."""
    async with serve(downlink_buffer_bytes=30_000_000) as node:
        slow = [await Raw.websocket(node) for _ in range(10)]
        recorders = [await node.recorder() for _ in slow]
        for raw in slow:
            stop_reading(raw)
        message = Outbound(b"x" * 12_000_000)
        for recorder in recorders:
            recorder.connection.send(message)
        await until(lambda: node.engine.connections.buffers.waiting_bytes > 12_000_000)
        for _ in range(10):
            await asyncio.sleep(0)
        assert node.engine.connections.buffers.waiting_bytes < 13_000_000
        assert all(recorder.closed.empty() for recorder in recorders)
        for raw in slow:
            raw.close()
