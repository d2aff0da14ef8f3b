"""WebSocket frames that break RFC 6455 or are too large, and handshakes that are garbage or too slow.

| input | outcome |
|---|---|
| an oversized frame or message | 1009 |
| frames that break RFC 6455 | 1002 |
| text that is no UTF-8 | 1007 |
| a client that does not read | closed, and what waits for it is bounded |
| a handshake or a body that never ends | closed after REQUEST_TIMEOUT_MS |

After each of them the clients of the same io-node are served as before, by the same process (`bystanders`).
"""

import asyncio
import time

import psutil
import pytest
from tests.conformance.conftest import REQUEST_TIMEOUT_MS, Target
from tests.conformance.raw import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Poller,
    Socket,
    Wire,
    frame,
    upgrade_request,
)

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("bystanders")]


class TestFrames:
    @pytest.mark.parametrize(
        ("data", "codes"),
        [
            pytest.param(frame(TEXT, b"4" + b"x" * 1_000_100), {1009}, id="oversized"),
            pytest.param(
                b"\x81\xff" + (1 << 40).to_bytes(8, "big") + bytes(4), {1009}, id="oversized by its header alone"
            ),
            pytest.param(
                b"\x81\xff" + (1 << 63).to_bytes(8, "big") + bytes(4), {1002, 1009}, id="length with its top bit"
            ),
            pytest.param(
                frame(TEXT, b"4" + b"x" * 600_000, fin=False) + frame(CONTINUATION, b"x" * 600_000),
                {1009},
                id="oversized in fragments",
            ),
            pytest.param(frame(TEXT, b'42["message","\xff\xfe"]'), {1007}, id="no utf-8"),
            pytest.param(
                frame(TEXT, b'42["\xc3', fin=False) + frame(CONTINUATION, b'("]'), {1007}, id="no utf-8 in fragments"
            ),
            pytest.param(frame(CONTINUATION, b"x"), {1002}, id="continuation of nothing"),
            pytest.param(
                frame(TEXT, b"42", fin=False) + frame(TEXT, b'["message"]'), {1002}, id="text inside a fragmented text"
            ),
            pytest.param(frame(PING, b"x", fin=False), {1002}, id="fragmented ping"),
            pytest.param(frame(PING, b"x" * 200), {1002}, id="long ping"),
            pytest.param(frame(0x3, b"x"), {1002}, id="reserved opcode"),
            pytest.param(frame(0xB, b"x"), {1002}, id="reserved control opcode"),
            pytest.param(frame(TEXT, b'42["message"]', rsv=4), {1002}, id="rsv1 without compression"),
            pytest.param(frame(TEXT, b'42["message"]', rsv=1), {1002}, id="rsv3"),
            pytest.param(frame(TEXT, b'42["message"]', mask=False), {1002}, id="unmasked"),
            pytest.param(frame(0x8, b"\x03"), {1002}, id="close with one byte"),
            pytest.param(frame(0x8, b"\x03\xed"), {1002}, id="close with a forbidden code"),
            pytest.param(frame(0x8, b""), {1000, 1005}, id="close without code"),
        ],
    )
    async def test_closes(self, target: Target, data: bytes, codes: set[int]) -> None:
        async with Socket.open_websocket(target.url) as socket:
            socket.write(frame(TEXT, b"40"))
            await socket.read_frame()
            await socket.read_frame()
            socket.write(data)
            assert await socket.close_code() in codes

    async def test_fragments_with_control_frames_between(self, target: Target) -> None:
        async with Socket.open_websocket(target.url) as socket:
            socket.write(frame(TEXT, b"40"))
            await socket.read_frame()
            await socket.read_frame()
            text = '42["message","ü"]'.encode()
            pieces = [text[n : n + 1] for n in range(len(text))]
            socket.write(frame(TEXT, pieces[0], fin=False))
            for piece in pieces[1:-1]:
                socket.write(frame(PING, b"hello"))
                socket.write(frame(CONTINUATION, piece, fin=False))
            socket.write(frame(CONTINUATION, pieces[-1]))
            pongs = 0
            while (received := await socket.read_frame())[0] == PONG:
                assert received[1] == b"hello"
                pongs += 1
            assert received == (TEXT, '42["message-back","ü"]'.encode())
            assert pongs == len(pieces) - 2

    async def test_byte_by_byte(self, target: Target) -> None:
        async with Socket.open_websocket(target.url) as socket:
            for byte in frame(TEXT, b"40"):
                socket.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await socket.read_frame())[1].startswith(b"40{")

    async def test_fragmented_binary(self, target: Target) -> None:
        async with Socket.open_websocket(target.url) as socket:
            socket.write(frame(TEXT, b"40"))
            await socket.read_frame()
            await socket.read_frame()
            socket.write(frame(TEXT, b'451-["message",{"_placeholder":true,"num":0}]'))
            socket.write(frame(BINARY, b"ab", fin=False) + frame(CONTINUATION, b"cd"))
            assert (await socket.read_frame())[1] == b'451-["message-back",{"_placeholder":true,"num":0}]'
            assert await socket.read_frame() == (BINARY, b"abcd")

    async def test_a_client_that_does_not_read(self, direct: Target) -> None:
        """A client that does not read is closed. What waits for it is bounded, and others are served meanwhile."""
        held_before = sum(psutil.Process(pid).memory_info().rss for pid in direct.pids())
        async with Socket.open_websocket(direct.url) as deaf, Wire.open(direct.url) as loud:
            await loud.join()
            deaf.write(frame(TEXT, b"40"))
            await deaf.read_frame()
            await deaf.read_frame()
            deaf.write(frame(TEXT, b'421["join",["deaf"]]'))
            await deaf.read_frame()
            deaf.pause_reading()
            for _ in range(30):
                await loud.send(f'42["tell",["deaf"],[],"{"x" * 900_000}"]')
                await loud.works()
            held = sum(psutil.Process(pid).memory_info().rss for pid in direct.pids()) - held_before
            assert held < 20_000_000 or direct.is_external
            deaf.resume_reading()
            await deaf.rest(within_s=5)

    async def test_vanishing(self, target: Target) -> None:
        for data in (b"", frame(TEXT, b"40"), b"\x81", frame(TEXT, b"42[", fin=False)):
            async with Socket.open_websocket(target.url) as socket:
                socket.write(data)


class TestHandshakes:
    """Sent straight to an io-node, because nginx has time limits of its own."""

    @pytest.fixture
    def own(self, direct: Target) -> Target:
        if direct.is_external:
            pytest.skip("the limits of Socket.IO's own server are Node's")
        return direct

    LIMIT_S = REQUEST_TIMEOUT_MS / 1000

    @pytest.mark.parametrize(
        "beginning",
        [
            b"",
            b"GET /socket.io/?EIO=4&transport=polling HTT",
            b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-A",
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
        ],
    )
    async def test_slow_headers(self, own: Target, beginning: bytes) -> None:
        async with Socket.open(own.url) as socket:
            began = time.monotonic()
            socket.write(beginning)
            await socket.rest(self.LIMIT_S + 2)
            assert time.monotonic() - began > self.LIMIT_S - 0.3

    async def test_headers_that_drip(self, own: Target) -> None:
        """The limit counts from the start of the request, not from its last byte."""
        async with Socket.open(own.url) as socket:
            socket.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n")
            ending = asyncio.create_task(socket.rest(self.LIMIT_S + 2))
            while not ending.done():
                socket.write(b"X-Drip: x\r\n")
                await asyncio.wait({ending}, timeout=0.2)
            ending.result()

    async def test_slow_body(self, own: Target) -> None:
        async with Poller.open(own.url) as poller, Socket.open(own.url) as socket:
            await poller.join()
            head = f"POST /socket.io/?EIO=4&transport=polling&sid={poller.sid} HTTP/1.1\r\nHost: x\r\n"
            socket.write((head + "Content-Length: 100\r\n\r\n42").encode())
            answer = await socket.rest(self.LIMIT_S + 2)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408")

    @pytest.mark.parametrize(
        "request_bytes",
        [
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x00" * 100,
            b"GET\r\n\r\n",
            b"GET /socket.io/?EIO=4&transport=polling HTTP/9.9\r\n\r\n",
            b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nConnection: close\r\n\r\n",
            b"GET /socket.io/ HTTP/1.1\r\nConnection: close\r\n" + b"X-A: b\r\n" * 20_000 + b"\r\n",
            b"POST /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        ],
        ids=["tls", "zeros", "no path", "version", "long path", "many headers", "negative length"],
    )
    async def test_garbage(self, own: Target, request_bytes: bytes) -> None:
        async with Socket.open(own.url) as socket:
            socket.write(request_bytes)
            answer = await socket.rest(self.LIMIT_S + 7)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")

    @pytest.mark.parametrize(
        "headers",
        [
            "Sec-WebSocket-Version: 12\r\n",
            "Sec-WebSocket-Key: short\r\n",
        ],
    )
    async def test_wrong_websocket_headers(self, own: Target, headers: str) -> None:
        async with Socket.open(own.url) as socket:
            name = headers.split(":")[0]
            lines = [line for line in upgrade_request(own.url).decode().split("\r\n") if not line.startswith(name)]
            socket.write(("\r\n".join(lines[:-2]) + "\r\n" + headers + "\r\n").encode())
            answer = await socket.read_head()
            assert answer.startswith(b"HTTP/1.1 4")
