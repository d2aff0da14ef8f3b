"""What a client must not send by WebSocket, and how the connection ends."""

import asyncio

import pytest

from sio_cluster.protocol import reasons

from ..serving import Raw, client_frame, send_for_ever, serve, soon, until

pytestmark = pytest.mark.slow

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
