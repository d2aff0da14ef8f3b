"""WebSockets over real sockets: frames in both directions, and clients that do not read."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons

from ..serving import Raw, client_frame, send_for_ever, serve, soon, until

pytestmark = pytest.mark.slow


async def test_open_and_echo() -> None:
    async with serve() as node, connect(node.ws_url()) as client:
        opening = await soon(client.recv())
        assert json.loads(opening[1:])["upgrades"] == []
        for message in ("4hello", "4€😀", "4" + "x" * 200, "4" + "x" * 100_000):
            await client.send(message)
            assert await soon(client.recv()) == message
        for data in (b"", b"\x01\x02", bytes(70_000)):
            await client.send(data)
            assert await soon(client.recv()) == data
        recorder = await node.recorder()
        assert recorder.connection.transport == "websocket"
        await client.close()
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_CLOSE


async def test_several_messages_of_a_tick_leave_in_one_write_in_order() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        for number in range(3):
            recorder.connection.send(Outbound(b"%d" % number, [b"\x00"]))
        frames = [await raw.frame() for _ in range(6)]
        assert frames == [(0x81, b"40"), (0x82, b"\0"), (0x81, b"41"), (0x82, b"\0"), (0x81, b"42"), (0x82, b"\0")]
        raw.close()


async def test_fragments_with_control_frames_between_them() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        await raw.send(
            client_frame(b"4h\xe2", 0x01)
            + client_frame(b"are you there", 0x89)
            + client_frame(b"\x82", 0x00)
            + client_frame(b"ignored", 0x8A)
            + client_frame(b"", 0x00)
            + client_frame(b"\xac!", 0x80)
        )
        assert await raw.frame() == (0x8A, b"are you there")
        assert await raw.frame() == (0x81, "4h€!".encode())
        await raw.send(client_frame(b"\x01", 0x02) + client_frame(b"\x02", 0x80))
        assert await raw.frame() == (0x82, b"\x01\x02")
        raw.close()


async def test_bytes_are_counted_in_both_directions() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        opening = node.engine.counters.websocket_sent_bytes
        sent = client_frame(b"4hello") + client_frame(bytes(100_000), 0x82)
        await raw.send(sent)
        answers = [await raw.frame() for _ in range(2)]
        assert [len(payload) for _, payload in answers] == [6, 100_000]
        assert node.engine.counters.websocket_received_bytes == len(sent)
        assert node.engine.counters.websocket_sent_bytes - opening == (2 + 6) + (10 + 100_000)
        raw.close()


async def test_frames_arrive_byte_by_byte() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        for byte in client_frame(b"4slow") + client_frame(b"4" + b"y" * 130):
            await raw.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert await raw.frame() == (0x81, b"4slow")
        assert await raw.frame() == (0x81, b"4" + b"y" * 130)
        raw.close()


async def test_ping_pong_ping() -> None:
    began = asyncio.get_running_loop().time()
    async with serve(ping_interval_ms=60, ping_timeout_ms=3_000) as node, connect(node.ws_url()) as client:
        await soon(client.recv())
        for _ in range(4):
            assert await soon(client.recv()) == "2"
            await client.send("3")
    assert asyncio.get_running_loop().time() - began < 1.5, "the next PING waited for the end of the timeout"


async def test_a_slow_consumer_is_dropped_and_memory_given_back() -> None:
    async with serve(downlink_buffer_bytes=300_000) as node:
        raw = await Raw.websocket(node)
        healthy = await Raw.websocket(node)
        recorder, other = await node.recorder(), await node.recorder()
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(10):
            while recorder.closed.empty():
                recorder.connection.send(Outbound(b"x" * 50_000))
                recorder.connection.send(Outbound(b"v" * 1000, volatile=True))
                await asyncio.sleep(0)
        assert recorder.closed.get_nowait() == reasons.SLOW_CONSUMER
        assert node.engine.counters.slow_consumers == {"buffer_full": 1}
        assert node.engine.connections.buffers.waiting_bytes == 0
        assert node.engine.counters.dropped["volatile"] > 0
        other.connection.send(Outbound(b"fine"))
        assert await healthy.frame() == (0x81, b"4fine")
        raw.close()
        healthy.close()


async def test_a_flood_of_pings_that_nobody_reads_the_answers_of_fills_no_memory() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        (socket,) = node.engine.connections._sockets
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        flood = client_frame(b"p" * 125, 0x89) * 1000
        for _ in range(200):  # 25 MB of PONGs, more than the kernel keeps for us
            await raw.send(flood)
        await raw.send(client_frame(b"last", 0x89) + client_frame(b"4heard"))
        recorder = await node.recorder()
        assert await soon(recorder.messages.get()) == "heard"
        assert socket._transport.get_write_buffer_size() < 1_000_000
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while (await raw.frame()) != (0x8A, b"last"):
            pass
        raw.close()


async def test_a_reader_that_catches_up_gets_everything_in_order() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        for number in range(60):
            recorder.connection.send(Outbound(b"%06d" % number + b"x" * 50_000))
            await asyncio.sleep(0)
        for number in range(60):
            assert (await raw.frame())[1][1:7] == b"%06d" % number
        raw.close()


async def test_pause_reading_stops_the_socket_itself() -> None:
    async with serve(ping_interval_ms=100, ping_timeout_ms=100) as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        recorder.echo = False
        recorder.connection.pause_reading()
        flood = client_frame(b"4" + b"x" * 60_000)
        raw.writer.transport.set_write_buffer_limits(0)
        sending = asyncio.create_task(send_for_ever(raw, flood))
        await asyncio.wait((sending,), timeout=0.8)  # longer than a ping timeout, which must not come
        assert not sending.done()
        sending.cancel()
        assert recorder.messages.qsize() == 0
        assert recorder.closed.empty()
        recorder.connection.resume_reading()
        assert await soon(recorder.messages.get()) == "x" * 60_000
        raw.close()


async def test_a_client_that_is_silent_has_no_parser() -> None:
    """Parsers serve one client after the other. One that a large message let grow is given up."""
    async with serve() as node, connect(node.ws_url()) as client, connect(node.ws_url()) as other:
        await soon(client.recv())
        await soon(other.recv())
        parsers = node.engine.connections._parsers
        for one, message in ((client, "4first"), (other, "4second"), (client, b"x" * 500_000), (other, "4after")):
            await one.send(message)
            assert await soon(one.recv()) == message
            assert [socket._parser for socket in node.engine.connections._sockets] == [None, None]
            assert sum(len(parser.get_buffer(-1)) for parser in parsers._free) < 4096
        await client.send(["4frag", "ments"])
        assert await soon(client.recv()) == "4fragments"


async def test_each_client_has_its_own_parser_until_its_frame_is_complete() -> None:
    """28,672 bytes of a frame leave picows as much free as it would have when it is empty."""
    async with serve() as node:
        raw, *others = [await Raw.websocket(node) for _ in range(3)]
        frame = client_frame(b"4" + b"x" * 100_000)
        for start in range(0, 28_672, 1_024):
            await raw.send(frame[start : start + 1_024])
        sockets = node.engine.connections._sockets
        await until(lambda: any(socket._parser for socket in sockets))
        frames = [client_frame(b"4%d" % number) for number in range(len(others))]
        for other, its in zip(others, frames, strict=True):
            await other.send(its[:-1])
        await until(lambda: all(socket._parser for socket in sockets))
        assert len({socket._parser for socket in sockets}) == 3
        await raw.send(frame[28_672:])
        assert await raw.frame() == (0x81, b"4" + b"x" * 100_000)
        for number, (other, its) in enumerate(zip(others, frames, strict=True)):
            await other.send(its[-1:])
            assert await other.frame() == (0x81, b"4%d" % number)
        assert not any(socket._parser for socket in sockets)
        for one in (raw, *others):
            one.close()
