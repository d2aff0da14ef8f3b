"""A WebSocket that ends: by the client, by silence, by the network, or as the node drains."""

import asyncio

import pytest
from websockets.asyncio.client import connect

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons

from ..serving import Raw, client_frame, serve, soon, until

pytestmark = pytest.mark.slow


async def test_close_frame_is_answered_with_its_code() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        await raw.send(client_frame((4001).to_bytes(2, "big") + b"bye", 0x88))
        assert await raw.close_code() == 4001
        assert await raw.rest() == b""
        raw.close()


async def test_a_client_that_answers_nothing_is_closed_on_time() -> None:
    async with serve(ping_interval_ms=300, ping_timeout_ms=200) as node:
        loop = asyncio.get_running_loop()
        began = loop.time()
        raw = await Raw.websocket(node)
        opened = loop.time()
        assert await raw.frame() == (0x81, b"2")
        assert await raw.close_code() == 1000
        assert loop.time() - began >= 0.5
        assert loop.time() - opened < 0.6
        raw.close()


async def test_a_close_that_is_not_answered_ends_by_force() -> None:
    async with serve(ping_timeout_ms=100) as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        recorder.connection.send(Outbound(b"bye"))
        recorder.connection.close(reasons.SERVER_DISCONNECT)
        recorder.connection.send(Outbound(b"too late"))
        assert await raw.frame() == (0x81, b"4bye")
        assert await raw.close_code() == 1000
        assert await soon(recorder.closed.get()) == reasons.SERVER_DISCONNECT
        await until(lambda: not node.engine.connections._sockets)
        raw.close()


async def test_lost_connections_are_noticed() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        raw.writer.transport.abort()
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_CLOSE
        assert not node.engine.connections


async def test_drain_moves_everybody() -> None:
    async with serve() as node:
        clients = [await connect(node.ws_url()) for _ in range(5)]
        draining = asyncio.create_task(node.engine.drain(500))
        for client in clients:
            await soon(client.wait_closed())
            assert client.close_code == 1001
        await soon(draining)
        assert node.engine.counters.closed == {reasons.NODE_DRAINED: 5}
        await until(lambda: not node.engine.connections._sockets)  # uvloop tells of it a turn later


async def test_a_drain_takes_what_was_sent_before_the_client_closed_too() -> None:
    """At full speed: each frame that is on the wire before the client answers the close frame counts, in order."""
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        recorder.echo = False
        draining = asyncio.create_task(node.engine.drain(2_000))
        closing = asyncio.create_task(raw.close_code())
        sent = 0
        while not closing.done() or sent < 1_000:
            raw.writer.write(client_frame(b"4%d" % sent))
            sent += 1
            await raw.writer.drain()
            await asyncio.sleep(0)
        assert await closing == 1001
        raw.writer.write(client_frame(b"4\xc3", 0x01) + client_frame(b"\xa4", 0x80))  # in fragments, and a PING
        await raw.send(client_frame(b"", 0x89) + client_frame((1001).to_bytes(2, "big"), 0x88))
        assert await soon(recorder.closed.get()) == reasons.NODE_DRAINED
        await soon(draining)
        assert [recorder.messages.get_nowait() for _ in range(sent)] == [str(number) for number in range(sent)]
        assert recorder.messages.get_nowait() == "ä"
        assert await raw.rest() == b""
        raw.close()


async def test_a_drain_does_not_wait_for_ever() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        await soon(node.engine.drain(200))
        assert await soon(recorder.closed.get()) == reasons.NODE_DRAINED
        await until(lambda: not node.engine.connections._sockets)  # uvloop tells of it a turn later
        raw.close()
