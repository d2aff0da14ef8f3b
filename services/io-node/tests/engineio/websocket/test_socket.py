"""WebSocket over real sockets: messages, heartbeats, bounds, and every way to break RFC 6455."""

import asyncio
import json

import pytest
from websockets.asyncio.client import connect

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons

from ..serving import Raw, client_frame, serve, soon, until

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


async def test_frames_arrive_byte_by_byte() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        for byte in client_frame(b"4slow") + client_frame(b"4" + b"y" * 130):
            await raw.send(bytes((byte,)))
            await asyncio.sleep(0)
        assert await raw.frame() == (0x81, b"4slow")
        assert await raw.frame() == (0x81, b"4" + b"y" * 130)
        raw.close()


BIG = 10_000


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(client_frame(b"4a", masked=False), 1002, id="unmasked"),
        pytest.param(client_frame(b"4a", 0xC1), 1002, id="rsv1: deflate was not agreed on"),
        pytest.param(client_frame(b"4a", 0xA1), 1002, id="rsv2"),
        pytest.param(client_frame(b"4a", 0x91), 1002, id="rsv3"),
        pytest.param(client_frame(b"4a", 0x83), 1002, id="unknown opcode"),
        pytest.param(client_frame(b"4a", 0x8B), 1002, id="unknown control opcode"),
        pytest.param(client_frame(b"4a", 0x80), 1002, id="continuation of nothing"),
        pytest.param(client_frame(b"4a", 0x01) + client_frame(b"4b"), 1002, id="a message within a message"),
        pytest.param(client_frame(b"4a", 0x01) + client_frame(b"b", 0x82), 1002, id="binary within text"),
        pytest.param(client_frame(b"p", 0x09), 1002, id="fragmented ping"),
        pytest.param(client_frame(b"p" * 126, 0x89), 1002, id="long ping"),
        pytest.param(client_frame(b"\x03", 0x88), 1002, id="close with half a code"),
        pytest.param(client_frame(b"\x00\x01", 0x88), 1002, id="close with an impossible code"),
        pytest.param(client_frame(b"4\xff"), 1007, id="not UTF-8"),
        pytest.param(client_frame(b"4\xed\xa0\x80"), 1007, id="a lone surrogate"),
        pytest.param(client_frame(b"4\xc3", 0x01) + client_frame(b"a", 0x80), 1007, id="not UTF-8 in fragments"),
        pytest.param(client_frame(b"4" * (BIG + 1)), 1009, id="oversized"),
        pytest.param(b"\x81\xff\x00\x00\x00\xff\xff\xff\xff\xffmask", 1009, id="promises a terabyte"),
        pytest.param(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xffmask", 1002, id="impossible length"),
        pytest.param(
            client_frame(b"4" * 6000, 0x01) + client_frame(b"4" * 6000, 0x00), 1009, id="oversized in fragments"
        ),
        pytest.param(client_frame(b"4", 0x01) + client_frame(b"", 0x00) * BIG, 1009, id="empty fragments for ever"),
        pytest.param(client_frame(b""), 1008, id="empty packet"),
        pytest.param(client_frame(b"abc"), 1008, id="unknown packet"),
        pytest.param(client_frame(b"2"), 1008, id="PING from the client"),
        pytest.param(client_frame(b"5"), 1008, id="upgrade of nothing"),
        pytest.param(client_frame(b"b!!"), 1008, id="bad base64"),
        pytest.param(client_frame(b"4malformed"), 1008, id="malformed Socket.IO"),
        pytest.param(client_frame(b"4bug"), 1011, id="the handler has a bug"),
        pytest.param(client_frame(b"1"), 1000, id="close packet"),
    ],
)
async def test_what_closes(data: bytes, code: int) -> None:
    async with serve(max_payload_bytes=BIG) as node:
        raw = await Raw.websocket(node)
        other = await Raw.websocket(node)
        recorder = await node.recorder()
        await raw.send(data)
        assert await raw.close_code() == code
        await soon(recorder.closed.get())
        await raw.send(client_frame(code.to_bytes(2, "big"), 0x88))
        raw.writer.write_eof()
        assert await raw.rest() == b""
        await other.send(client_frame(b"4still here"))
        assert await other.frame() == (0x81, b"4still here")
        assert recorder.closed.empty()
        raw.close()
        other.close()


async def test_what_was_sent_before_a_malformed_message_still_arrives() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        await raw.send(client_frame(b"4before") + client_frame(b"4malformed"))
        assert await raw.frame() == (0x81, b"4before")
        assert await raw.close_code() == 1008
        raw.close()


async def test_nothing_is_handled_behind_an_error() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        await raw.send(client_frame(b"?") + client_frame(b"4late") * 10)
        assert await raw.close_code() == 1008
        assert await soon(recorder.closed.get()) == reasons.PARSE_ERROR
        assert recorder.messages.empty()
        raw.close()


async def test_a_client_that_floods_after_its_error_still_sees_the_code_and_is_dropped_in_the_end() -> None:
    async with serve(max_payload_bytes=BIG, ping_timeout_ms=300) as node:
        raw = await Raw.websocket(node)
        await raw.send(client_frame(b"4" * (BIG + 1)) + client_frame(b"4flood") * 10_000)
        assert await raw.close_code() == 1009
        assert await raw.rest() == b""  # its end of the stream
        assert not node.engine.connections
        await until(lambda: not node.engine.connections._sockets)


async def test_close_frame_is_answered_with_its_code() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        await raw.send(client_frame((4001).to_bytes(2, "big") + b"bye", 0x88))
        assert await raw.close_code() == 4001
        assert await raw.rest() == b""
        raw.close()


async def test_ping_pong_ping() -> None:
    began = asyncio.get_running_loop().time()
    async with serve(ping_interval_ms=60, ping_timeout_ms=3_000) as node, connect(node.ws_url()) as client:
        await soon(client.recv())
        for _ in range(4):
            assert await soon(client.recv()) == "2"
            await client.send("3")
    assert asyncio.get_running_loop().time() - began < 1.5, "the next PING waited for the end of the timeout"


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


async def test_a_grown_read_buffer_is_given_back() -> None:
    async with serve() as node, connect(node.ws_url()) as client:
        await soon(client.recv())
        (socket,) = node.engine.connections._sockets
        before = socket._parser
        assert before is not None
        await client.send(b"x" * 500_000)
        await soon(client.recv())
        await client.send("4after")
        assert await soon(client.recv()) == "4after"
        after = socket._parser
        assert after is not None
        assert after is not before
        assert after.idle_bytes < 4096
        await client.send(["4frag", "ments"])
        assert await soon(client.recv()) == "4fragments"


async def test_a_read_buffer_with_half_a_frame_is_kept() -> None:
    """28,672 bytes of a frame leave picows as much free as it would have when it is empty."""
    async with serve() as node:
        raw = await Raw.websocket(node)
        (socket,) = node.engine.connections._sockets
        frame = client_frame(b"4" + b"x" * 100_000)
        for start in range(0, 28_672, 1_024):
            await raw.send(frame[start : start + 1_024])
        await until(lambda: socket.mid_frame)
        parser = socket._parser
        for _ in range(20):
            socket.trim()
            await asyncio.sleep(0)
        assert socket._parser is parser
        await raw.send(frame[28_672:])
        assert await raw.frame() == (0x81, b"4" + b"x" * 100_000)
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
        assert not node.engine.connections._sockets


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
        assert not node.engine.connections._sockets
        raw.close()


async def test_a_flood_after_our_close_frame_is_cut_off() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        await raw.send(client_frame(b"4malformed"))
        assert await raw.close_code() == 1008
        assert await soon(recorder.closed.get()) == reasons.PARSE_ERROR
        with pytest.raises(ConnectionError):
            await soon(send_for_ever(raw, client_frame(b"4x" * 30_000)))
        await until(lambda: not node.engine.connections._sockets)
        raw.close()


async def test_a_flood_after_an_error_while_the_node_drains_is_cut_off() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        draining = asyncio.create_task(node.engine.drain(20_000))
        assert await raw.close_code() == 1001
        await raw.send(client_frame(b"4\xff"))  # not UTF-8
        with pytest.raises(ConnectionError):
            await soon(send_for_ever(raw, client_frame(b"4x" * 30_000)))
        await until(lambda: not node.engine.connections._sockets)
        await soon(draining)
        raw.close()


async def send_for_ever(raw: Raw, data: bytes) -> None:
    while True:
        raw.writer.write(data)
        await raw.writer.drain()
