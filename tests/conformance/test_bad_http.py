"""HTTP requests that a client must not send, and how they are answered.

| input | outcome |
|---|---|
| a polling body that is malformed, no UTF-8 or bad base64 | 400, session ends |
| a polling body beyond MAX_PAYLOAD_BYTES, chunked or not | 413 |
| a second poll, a cancelled poll, a poll after the upgrade | 400, the first two end the session (test_engineio.py) |
| a probe that goes silent | messages go on by polling, few NOOPs |
| a sid that is foreign, unknown, of a dead node; an upgrade to it | 400, code 1 |
| wrong EIO version or transport | 400 (test_engineio.py) |
| a wrong Origin | 400 or 403, without CORS headers |
| a head of more than 64 KB (through nginx: also a header or URL of more than 32 KB) | 431; up to that it is served |
| what is no HTTP | 400 |

After each of them the clients of the same io-node are served as before, by the same process (`bystanders`).
"""

import asyncio
import json
import time
from typing import Any

import pytest
from tests.conformance.conftest import ALLOWED_ORIGIN, EXTERNAL_URL, Target
from tests.conformance.raw import (
    PROMPT_S,
    SEPARATOR,
    Poller,
    Socket,
    Wire,
    polling_url,
    websocket_refusal,
    websocket_url,
)

from sio_cluster.testing.http import http_client

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("bystanders")]


LONG = "x" * 32_000


class TestPollingBodies:
    @pytest.mark.parametrize(
        ("body", "own_status"),
        [
            (b"abc", 400),
            (b"", 400),
            (b"\x1e", 400),
            (b'42["message"]\x1e', 400),
            (b"\x1e" * 1000, 400),
            (b"b!!!!", 400),
            (b"bAQ", 400),
            (b"b\xff\xfe", 400),
            (b'42["message","\xff\xfe"]', 400),
            (b"\xc3\x28", 400),
            (b"\x00\x01\x02", 400),
        ],
    )
    async def test_malformed(self, direct: Target, body: bytes, own_status: int) -> None:
        if direct.is_external and (body in (b"bAQ", b'42["message","\xff\xfe"]') or body.startswith((b"b", b""))):
            pytest.skip("Socket.IO's own server repairs it, or answers 200 before it closes")
        async with Poller.open(direct.url) as poller:
            await poller.join()
            response = await poller.post(body)
            assert response.status_code == own_status
            await poller.is_gone()

    async def test_hundreds_of_packets(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send(*(["3"] * 200 + [f'42["message",{n}]' for n in range(700)]))
            assert await poller.receive_many(700) == [f'42["message-back",{n}]' for n in range(700)]

    async def test_good_packets_before_a_bad_one(self, direct: Target) -> None:
        async with Poller.open(direct.url) as poller:
            await poller.join()
            response = await poller.post(SEPARATOR.join([*(f'42["message",{n}]' for n in range(300)), "47"]))
            assert response.status_code in (200, 400)
            await poller.is_gone()

    async def test_oversized(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            try:
                response = await poller.post(b"4" + b"x" * 1_100_000)
                assert response.status_code == 413
            except OSError as error:
                pytest.fail(f"the answer 413 was lost: {error!r}")

    @pytest.mark.parametrize("size", [1_100_000, 100_000_000])
    async def test_oversized_by_its_length_alone(self, target: Target, size: int) -> None:
        """nginx passes a little more than the limit on to the io-node, and refuses what is far beyond."""
        if target.is_external:
            pytest.skip("Socket.IO's own server reads the whole body first")
        async with Poller.open(target.url) as poller, Socket.open(target.url) as socket:
            head = f"POST /socket.io/?EIO=4&transport=polling&sid={poller.sid} HTTP/1.1\r\nHost: x\r\n"
            socket.write(f"{head}Content-Length: {size}\r\n\r\n".encode())
            if size < 2_000_000:
                socket.write(b"4" + b"x" * (size - 1))
            assert await json_answer(socket) == (413, {"code": 3, "message": "Payload too large"})

    async def test_oversized_in_chunks(self, target: Target) -> None:
        async with Socket.open(target.url) as socket, Poller.open(target.url) as poller:
            await poller.join()
            head = f"POST /socket.io/?EIO=4&transport=polling&sid={poller.sid} HTTP/1.1\r\nHost: x\r\n"
            socket.write((head + "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
            for _ in range(110):
                socket.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            socket.write(b"0\r\n\r\n")
            assert (await socket.read_head(5)).startswith(b"HTTP/1.1 413")

    async def test_chunked_body_within_the_limit(self, target: Target) -> None:
        async with Socket.open(target.url) as socket, Poller.open(target.url) as poller:
            await poller.join()
            head = f"POST /socket.io/?EIO=4&transport=polling&sid={poller.sid} HTTP/1.1\r\nHost: x\r\n"
            socket.write((head + "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
            for piece in (b"42", b'["mess', b'age",1]'):
                socket.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            socket.write(b"0\r\n\r\n")
            assert (await socket.read_head()).startswith(b"HTTP/1.1 200")
            assert await poller.receive() == '42["message-back",1]'

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
    async def test_other_methods(self, target: Target, method: str) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            response = await poller.http.request(method, poller.address)
            assert response.status_code in (400, 405, 500)


class TestHeads:
    """Cookies, tokens and queries may be long. What is too long is refused by nginx and io-node alike: in JSON."""

    @pytest.fixture
    def own(self, target: Target) -> Target:
        if target.is_external:
            pytest.skip("Socket.IO's own server takes 16 KB, and answers without JSON")
        return target

    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            (f"token={LONG}", {}),
            ("", {"Cookie": f"session={LONG}"}),
            ("", {"Authorization": f"Bearer {LONG}", "X-More": LONG[:20_000]}),
        ],
        ids=["query", "cookie", "headers"],
    )
    async def test_long(self, own: Target, query: str, headers: dict[str, str]) -> None:
        async with http_client() as http:
            response = await http.get(f"{polling_url(own.url)}&{query}", headers=headers)
        assert (response.status_code, response.text[:1]) == (200, "0")
        async with Wire.open(own.url, query=query, additional_headers=headers) as wire:
            await wire.join()
            await wire.works()

    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            (f"token={LONG * 3}", {}),
            ("", {"Cookie": f"session={LONG * 3}"}),
            ("", {f"X-{number}": LONG for number in range(3)}),
        ],
        ids=["query", "cookie", "headers"],
    )
    async def test_too_long(self, own: Target, query: str, headers: dict[str, str]) -> None:
        async with Socket.open(own.url) as socket:
            lines = [f"GET /socket.io/?EIO=4&transport=polling&{query} HTTP/1.1", "Host: x", "Connection: close"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            socket.write("\r\n".join((*lines, "", "")).encode())
            assert await json_answer(socket) == (431, {"code": 3, "message": "Request header too large"})

    @pytest.mark.parametrize("head", [b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nno header\r\n\r\n", b"{}\r\n\r\n"])
    async def test_no_http(self, own: Target, head: bytes) -> None:
        async with Socket.open(own.url) as socket:
            socket.write(head)
            assert await json_answer(socket) == (400, {"code": 3, "message": "Bad request"})


class TestSessions:
    @pytest.mark.parametrize(
        "sid",
        [
            "x",
            "AAAAAAAAAAAAAAAAAAAA",
            "nosuchnode-abcdef.AAAAAAAAAAAAAAAA",
            "io1-abcdef.AAAAAAAAAAAAAAAA",
            "0123456789ab-abcdef.AAAAAAAAAAAAAAAA",
            "..%2F..%2Fetc",
            "%00",
            "a" * 4000,
            "%C3%28",
            "localhost-abcdef.AAAAAAAAAAAAAAAA",
            "127.0.0.1",
        ],
    )
    async def test_unknown_sid(self, target: Target, sid: str) -> None:
        async with http_client() as http:
            for method in ("GET", "POST"):
                body = b"4x" if method == "POST" else None
                response = await http.request(method, polling_url(target.url, sid=sid), content=body)
                assert response.status_code == 400
                assert response.json() == {"code": 1, "message": "Session ID unknown"}
        status = await websocket_refusal(websocket_url(target.url, sid=sid))
        assert status == 400 or (target.is_external and status is None)

    async def test_socketio_sid_is_no_key(self, target: Target) -> None:
        """The public sid of a namespace must not open the connection."""
        async with Wire.open(target.url) as wire:
            public = await wire.join()
            async with http_client() as http:
                assert (await http.get(polling_url(target.url, sid=public))).status_code == 400
            assert await websocket_refusal(websocket_url(target.url, sid=public)) in (400, None)
            await wire.works()

    async def test_another_connections_websocket_session(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            async with http_client() as http:
                assert (await http.get(polling_url(target.url, sid=wire.sid))).status_code == 400
            if not target.is_external:  # Socket.IO's own server leaves it hanging
                assert await websocket_refusal(websocket_url(target.url, sid=wire.sid)) in (400, None)
            await wire.works()

    async def test_a_silent_probe(self, target: Target) -> None:
        """Messages still arrive by polling, without a busy loop of NOOPs."""
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid) as wire:
            await poller.join()
            await wire.send("2probe")
            assert await wire.receive() == "3probe"
            polls_before = poller.polls
            began = time.monotonic()
            await poller.send('42["message","waits"]', '421["wait",1,"later"]')
            packets: list[str] = []
            while not packets or packets[-1] != '431["later"]':
                packets.append(await poller.receive())
            assert [packet for packet in packets if packet != "6"] == ['42["message-back","waits"]', '431["later"]']
            assert time.monotonic() - began < 3
            assert poller.polls - polls_before < 40

    async def test_a_probe_that_never_speaks(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid):
            await poller.join()
            await poller.works()

    @pytest.mark.parametrize("message", ["2", "4x", "5", "2prob", "", "9", b"\x00"])
    async def test_a_probe_that_says_something_else(self, target: Target, message: str | bytes) -> None:
        if target.is_external and message == "5":
            pytest.skip("Socket.IO's own server upgrades without a probe")
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid) as wire:
            await poller.join()
            await wire.send(message)
            await wire.closes()
            await poller.works()


class TestOrigin:
    @pytest.fixture
    def own(self, direct: Target) -> Target:
        if direct.is_external:
            pytest.skip("Socket.IO's own server only leaves the CORS headers out")
        return direct

    async def test_wrong_origin(self, own: Target) -> None:
        async with http_client() as http:
            response = await http.get(polling_url(own.url), headers={"Origin": "http://evil.example"})
        assert response.status_code in (400, 403)
        assert "access-control-allow-origin" not in response.headers
        assert await websocket_refusal(websocket_url(own.url), origin="http://evil.example") in (400, 403)

    async def test_same_origin(self, own: Target) -> None:
        async with http_client() as http:
            assert (await http.get(polling_url(own.url), headers={"Origin": own.url})).status_code == 200
        async with Wire.open(own.url, origin=own.url) as wire:
            await wire.join()

    @pytest.mark.skipif(EXTERNAL_URL is not None, reason="only a cluster of ours is known to allow this origin")
    @pytest.mark.ci_only
    @pytest.mark.parametrize("target", ["nginx-4"], indirect=True)
    async def test_allowed_origin_through_nginx(self, target: Target) -> None:
        async with http_client() as http:
            response = await http.get(polling_url(target.url), headers={"Origin": ALLOWED_ORIGIN})
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
            preflight = await http.options(
                polling_url(target.url),
                headers={"Origin": ALLOWED_ORIGIN, "Access-Control-Request-Method": "POST"},
            )
            assert preflight.status_code in (200, 204)
            assert preflight.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
            wrong = await http.get(polling_url(target.url), headers={"Origin": "http://evil.example"})
            assert wrong.status_code in (400, 403)
            assert "access-control-allow-origin" not in wrong.headers


async def json_answer(socket: Socket) -> tuple[int, Any]:
    """Status and body of the response."""
    head = (await socket.read_head()).decode().lower()
    assert "content-type: application/json" in head
    size = int(head.partition("content-length: ")[2].split("\r\n")[0])
    async with asyncio.timeout(PROMPT_S):
        return int(head.split()[1]), json.loads(await socket.reader.readexactly(size))
