"""What a client must not send, and what becomes of it.

| input | outcome |
|---|---|
| malformed or unknown Engine.IO and Socket.IO packets, empty frames, invalid JSON, wrong payload types | close |
| NaN, Infinity, numbers beyond JSON, deep nesting, huge ids | close |
| an event before CONNECT, or to a namespace not joined; a second CONNECT; a reserved event name | close |
| attachments missing, too many, out of range, negative, fractional, text in their place | close |
| an ack that nobody asked for | ignored |
| no CONNECT in time | close (test_engineio.py) |
| a polling body that is malformed, no UTF-8 or bad base64 | 400, session ends |
| a polling body beyond MAX_PAYLOAD_BYTES, chunked or not | 413 |
| a second poll, a cancelled poll, a poll after the upgrade | 400, the first two end the session (test_engineio.py) |
| a probe that goes silent | messages go on by polling, few NOOPs |
| a sid that is foreign, unknown, of a dead node; an upgrade to it | 400, code 1 |
| wrong EIO version or transport | 400 (test_engineio.py) |
| a wrong Origin | 400 or 403, without CORS headers |
| an oversized frame or message | 1009 |
| frames that break RFC 6455 | 1002 |
| text that is no UTF-8 | 1007 |
| a handshake or a body that never ends | closed after REQUEST_TIMEOUT_MS |
| thousands of namespaces | CONNECT_ERROR each |

After each of them the clients of the same io-node are served as before, by the same process (`bystanders`).
What is `stricter` Socket.IO's own server lets through: it would reach other people's clients or handlers.
"""

import asyncio
import base64
import time
from dataclasses import dataclass

import psutil
import pytest
from tests.conformance.raw import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    SEPARATOR,
    TEXT,
    Poller,
    Socket,
    Wire,
    frame,
    http_client,
    polling_url,
    upgrade_request,
    websocket_refusal,
    websocket_url,
)
from tests.conftest import ALLOWED_ORIGIN, EXTERNAL_URL, REQUEST_TIMEOUT_MS, Target

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("bystanders")]

DEEP = "[" * 100_000
RESERVED = ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")


@dataclass(frozen=True)
class Case:
    """Messages after which the connection must close. `stricter`: Socket.IO's own server would take them."""

    name: str
    messages: tuple[str | bytes, ...]
    stricter: bool = False
    joined: bool = True

    def __str__(self) -> str:
        return self.name


def close(name: str, *messages: str | bytes) -> Case:
    return Case(name, messages)


def stricter(name: str, *messages: str | bytes) -> Case:
    return Case(name, messages, stricter=True)


def unjoined(name: str, *messages: str | bytes) -> Case:
    return Case(name, messages, joined=False)


CLOSING = [
    # Engine.IO packets
    close("empty frame", ""),
    close("unknown engine packet", "9"),
    close("not a packet", "abc"),
    close("unicode for a type", "ü"),
    close("ping from a client", "2"),
    close("probe without an upgrade", "2probe"),
    stricter("upgrade without a probe", "5"),
    stricter("open from a client", '0{"sid":"x"}'),
    # Socket.IO packets
    close("unknown packet type 7", "47"),
    close("unknown packet type", "4abc"),
    close("negative packet type", "4-1"),
    stricter("no packet type", "4"),
    close("connect error from a client", '44{"message":"x"}'),
    close("connect error of another namespace", '44/custom,{"message":"x"}'),
    # payloads
    close("event with an object", "42{}"),
    close("event with a string", '42"message"'),
    close("event with null", "42null"),
    stricter("event without payload", "42"),
    close("event without name", "42[]"),
    close("event named by an object", "42[{}]"),
    close("event named by null", "42[null]"),
    close("event named by a list", '42[["message"]]'),
    close("truncated json", '42["message"'),
    close("trailing garbage", '42["message"]]'),
    close("single quotes", "42['message']"),
    close("nan", '42["message",NaN]'),
    close("infinity", '42["message",Infinity]'),
    close("minus infinity", '42["message",-Infinity]'),
    stricter("number beyond a double", '42["message",1e999]'),
    close("leading zero", '42["message",01]'),
    close("undefined", '42["message",undefined]'),
    close("raw control character", '42["message","\x01"]'),
    stricter("deep nesting", f'42["message",{DEEP}{"]" * 100_000}]'),
    close("deep and unclosed", f'42["message",{DEEP}'),
    close("deep objects", '42["message",' + '{"a":' * 100_000),
    stricter("huge ack id", "42" + "9" * 400 + '["message"]'),
    stricter("ack id beyond 2**53", "42" + str(2**53) + '["message"]'),
    close("ack id with letters", '42abc["message-with-ack"]'),
    close("fractional ack id", '421.5["message"]'),
    close("negative ack id", '42-1["message"]'),
    close("connect with a bare word", "40/custom,token"),
    close("connect with nan", '40/custom,{"a":NaN}'),
    close("disconnect with a payload", '41{"reason":1}'),
    close("ack with an object", "431{}"),
    close("ack with a string", '431"x"'),
    stricter("ack without payload", "431"),
    # state
    close("second connect", "40"),
    stricter("second connect while the first is pending", "40/custom,", "40/custom,"),
    close("event to a namespace not joined", '42/custom,["message"]'),
    close("event to a namespace that does not exist", '42/nowhere,["message"]'),
    close("ack to a namespace not joined", "43/custom,1[]"),
    close("disconnect of a namespace not joined", "41/custom,"),
    close("event to a pending namespace", '40/slow,{"delay":3}', '42/slow,["echo"]'),
    unjoined("event before connect", '42["message"]'),
    unjoined("ack before connect", "431[]"),
    unjoined("disconnect before connect", "41"),
    unjoined("binary before connect", b"\x00"),
    unjoined("malformed connect", "40["),
    # names that mean something else to handlers
    *(close(f"reserved event {name}", f'42["{name}",{{"sid":"x"}}]') for name in RESERVED),
    close("reserved event with ack", '427["connect",{"REMOTE_ADDR":"1.2.3.4"},{}]'),
    close("escaped reserved event", '42["\\u0063onnect"]'),
    close("reserved binary event", '451-["disconnect",{"_placeholder":true,"num":0}]', b"x"),
    # attachments
    close("binary without announcement", b"\x00\x01"),
    close("text in place of an attachment", '451-["message",{"_placeholder":true,"num":0}]', '42["message"]'),
    close("connect in place of an attachment", '451-["message",{"_placeholder":true,"num":0}]', "40/custom,"),
    close("one attachment too many", '451-["message",{"_placeholder":true,"num":0}]', b"a", b"b"),
    close("placeholder out of range", '451-["message",{"_placeholder":true,"num":1}]', b"a"),
    close("placeholder far out of range", '451-["message",{"_placeholder":true,"num":1e15}]', b"a"),
    close("negative placeholder", '451-["message",{"_placeholder":true,"num":-1}]', b"a"),
    stricter("fractional placeholder", '452-["message",{"_placeholder":true,"num":0.5}]', b"a", b"b"),
    close("placeholder of text", '451-["message",{"_placeholder":true,"num":"0"}]', b"a"),
    close("placeholder without number", '451-["message",{"_placeholder":true}]', b"a"),
    close("placeholder of null", '451-["message",{"_placeholder":true,"num":null}]', b"a"),
    close("a million attachments", '451000000-["message",{"_placeholder":true,"num":0}]'),
    close("eleven attachments", '4511-["message",{"_placeholder":true,"num":0}]'),
    close("attachments without count", '45-["message",{"_placeholder":true,"num":0}]', "42[]"),
    close("attachments without dash", '451["message",{"_placeholder":true,"num":0}]'),
    close("negative attachment count", '45-1-["message"]'),
    close("fractional attachment count", '451.5-["message"]'),
    close("huge attachment count", "45" + "9" * 400 + '-["message"]'),
    close("count in words", '45one-["message"]'),
    stricter("attachments beyond the payload limit", '4510-["message"]', *([bytes(200_000)] * 10)),
]

IGNORED: list[tuple[str, tuple[str, ...]]] = [
    ("ack that nobody asked for", ("431[1]", "43123456789[]")),
    ("ack of an id that another client was asked", ("430[]",)),
    ("pong without ping", ("3", "3", "3")),
    ("noop", ("6",)),
    ("event nobody serves", ('42["nobody"]', '42["__init__"]', '42["on_echo"]', '42["trigger_event"]', '42[""]')),
    ("event named by a number", ("42[1]",)),
    ("prototype pollution", ('42["message-with-ack",{"__proto__":{"x":1},"constructor":{"prototype":{}}}]',)),
    ("wrong number of arguments", ('42["who",1,2,3]', '42["burst"]', '42["tell"]')),
    ("wrong types of arguments", ('42["burst","many"]', '42["join",7]', '42["wait",{},[]]')),
    ("large numbers", ('42["message",123456789012345678901234567890]',)),
]


def skip_if_lenient(case: Case, target: Target) -> None:
    if case.stricter and target.is_external:
        pytest.skip("Socket.IO's own server takes this")


class TestPackets:
    @pytest.mark.parametrize("case", CLOSING, ids=str)
    async def test_closes_a_websocket(self, victim: Target, case: Case) -> None:
        skip_if_lenient(case, victim)
        async with Wire.open(victim.url) as wire:
            if case.joined:
                await wire.join()
            await wire.send(*case.messages)
            assert await wire.closes() is not None

    @pytest.mark.parametrize("case", [case for case in CLOSING if not case.joined or len(case.messages) == 1], ids=str)
    async def test_ends_a_polling_session(self, direct: Target, case: Case) -> None:
        skip_if_lenient(case, direct)
        async with Poller.open(direct.url) as poller:
            if case.joined:
                await poller.join()
            response = await poller.post(SEPARATOR.join(as_polling(message) for message in case.messages))
            assert response.status_code in (200, 400)
            await poller.is_gone()

    @pytest.mark.parametrize(("name", "messages"), IGNORED, ids=[name for name, _ in IGNORED])
    async def test_ignored(self, victim: Target, name: str, messages: tuple[str, ...]) -> None:
        async with Wire.open(victim.url) as wire:
            await wire.join()
            await wire.send(*messages)
            await wire.send('42998["echo"]')
            while (answer := await wire.receive()) != "43998[]":
                assert str(answer).startswith(('42["message-back"', "42"))

    async def test_nobody_runs_the_connect_handler_again(self, victim: Target) -> None:
        """A client cannot run the connect handler by an event of that name. (python-socketio would run it with the
        sender's data.)"""
        async with Wire.open(victim.url) as wire:
            await wire.join()
            await wire.send('42["connect",{},{"admin":true}]')
            await wire.closes()
            assert wire.messages.empty() or wire.messages.get_nowait() == "41"

    async def test_zero_attachments(self, victim: Target) -> None:
        """A binary packet that announces none: either taken as a plain one, or the sender is closed."""
        async with Wire.open(victim.url) as wire:
            await wire.join()
            await wire.send('450-["message",1]')
            try:
                assert await wire.receive(0.5) == '42["message-back",1]'
            except AssertionError:
                await wire.closes()

    async def test_a_thousand_namespaces(self, victim: Target) -> None:
        async with Wire.open(victim.url) as wire:
            await wire.send(*(f"40/n{number}," for number in range(3000)))
            try:
                answers = await wire.receive_many(3000, 5)
            except AssertionError:
                await wire.closes()
            else:
                assert all(str(answer).startswith("44/n") for answer in answers)

    async def test_many_slow_namespaces(self, direct: Target) -> None:
        if direct.is_external:
            pytest.skip("Socket.IO's own server has no such limit")
        async with Wire.open(direct.url) as wire:
            await wire.send(*(f"40/slow{'x' * number}," for number in range(300)))
            answers = await wire.receive_many(299, 5)
            assert all(str(answer).startswith("44/slow") for answer in answers)


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

    async def test_hundreds_of_packets(self, victim: Target) -> None:
        async with Poller.open(victim.url) as poller:
            await poller.join()
            await poller.send(*(["3"] * 200 + [f'42["message",{n}]' for n in range(700)]))
            assert await poller.receive_many(700) == [f'42["message-back",{n}]' for n in range(700)]

    async def test_good_packets_before_a_bad_one(self, direct: Target) -> None:
        async with Poller.open(direct.url) as poller:
            await poller.join()
            response = await poller.post(SEPARATOR.join([*(f'42["message",{n}]' for n in range(300)), "47"]))
            assert response.status_code in (200, 400)
            await poller.is_gone()

    async def test_oversized(self, victim: Target) -> None:
        async with Poller.open(victim.url) as poller:
            await poller.join()
            try:
                response = await poller.post(b"4" + b"x" * 1_100_000)
                assert response.status_code == 413
            except OSError as error:
                pytest.fail(f"the answer 413 was lost: {error!r}")

    async def test_oversized_in_chunks(self, victim: Target) -> None:
        async with Socket.open(victim.url) as socket, Poller.open(victim.url) as poller:
            await poller.join()
            head = f"POST /socket.io/?EIO=4&transport=polling&sid={poller.sid} HTTP/1.1\r\nHost: x\r\n"
            socket.write((head + "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
            for _ in range(110):
                socket.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            socket.write(b"0\r\n\r\n")
            assert (await socket.read_head(5)).startswith(b"HTTP/1.1 413")

    async def test_chunked_body_within_the_limit(self, victim: Target) -> None:
        async with Socket.open(victim.url) as socket, Poller.open(victim.url) as poller:
            await poller.join()
            head = f"POST /socket.io/?EIO=4&transport=polling&sid={poller.sid} HTTP/1.1\r\nHost: x\r\n"
            socket.write((head + "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n").encode())
            for piece in (b"42", b'["mess', b'age",1]'):
                socket.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            socket.write(b"0\r\n\r\n")
            assert (await socket.read_head()).startswith(b"HTTP/1.1 200")
            assert await poller.receive() == '42["message-back",1]'

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD"])
    async def test_other_methods(self, victim: Target, method: str) -> None:
        async with Poller.open(victim.url) as poller:
            await poller.join()
            response = await poller.http.request(method, poller.address)
            assert response.status_code in (400, 405, 500)


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
    async def test_unknown_sid(self, victim: Target, sid: str) -> None:
        async with http_client() as http:
            for method in ("GET", "POST"):
                body = b"4x" if method == "POST" else None
                response = await http.request(method, polling_url(victim.url, sid=sid), content=body)
                assert response.status_code == 400
                assert response.json() == {"code": 1, "message": "Session ID unknown"}
        status = await websocket_refusal(websocket_url(victim.url, sid=sid))
        assert status == 400 or (victim.is_external and status is None)

    async def test_socketio_sid_is_no_key(self, victim: Target) -> None:
        """The public sid of a namespace must not open the connection."""
        async with Wire.open(victim.url) as wire:
            public = await wire.join()
            async with http_client() as http:
                assert (await http.get(polling_url(victim.url, sid=public))).status_code == 400
            assert await websocket_refusal(websocket_url(victim.url, sid=public)) in (400, None)
            await wire.works()

    async def test_another_connections_websocket_session(self, victim: Target) -> None:
        async with Wire.open(victim.url) as wire:
            await wire.join()
            async with http_client() as http:
                assert (await http.get(polling_url(victim.url, sid=wire.sid))).status_code == 400
            if not victim.is_external:  # Socket.IO's own server leaves it hanging
                assert await websocket_refusal(websocket_url(victim.url, sid=wire.sid)) in (400, None)
            await wire.works()

    async def test_a_silent_probe(self, victim: Target) -> None:
        """Messages still arrive by polling, without a busy loop of NOOPs."""
        async with Poller.open(victim.url) as poller, Wire.open(victim.url, sid=poller.sid) as wire:
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

    async def test_a_probe_that_never_speaks(self, victim: Target) -> None:
        async with Poller.open(victim.url) as poller, Wire.open(victim.url, sid=poller.sid):
            await poller.join()
            await poller.works()

    @pytest.mark.parametrize("message", ["2", "4x", "5", "2prob", "", "9", b"\x00"])
    async def test_a_probe_that_says_something_else(self, victim: Target, message: str | bytes) -> None:
        if victim.is_external and message == "5":
            pytest.skip("Socket.IO's own server upgrades without a probe")
        async with Poller.open(victim.url) as poller, Wire.open(victim.url, sid=poller.sid) as wire:
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
    @pytest.mark.parametrize("victim", ["nginx-4"], indirect=True)
    async def test_allowed_origin_through_nginx(self, victim: Target) -> None:
        async with http_client() as http:
            response = await http.get(polling_url(victim.url), headers={"Origin": ALLOWED_ORIGIN})
            assert response.status_code == 200
            assert response.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
            preflight = await http.options(
                polling_url(victim.url),
                headers={"Origin": ALLOWED_ORIGIN, "Access-Control-Request-Method": "POST"},
            )
            assert preflight.status_code in (200, 204)
            assert preflight.headers["access-control-allow-origin"] == ALLOWED_ORIGIN
            wrong = await http.get(polling_url(victim.url), headers={"Origin": "http://evil.example"})
            assert wrong.status_code in (400, 403)
            assert "access-control-allow-origin" not in wrong.headers


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
    async def test_closes(self, victim: Target, data: bytes, codes: set[int]) -> None:
        async with Socket.open_websocket(victim.url) as socket:
            socket.write(frame(TEXT, b"40"))
            await socket.read_frame()
            await socket.read_frame()
            socket.write(data)
            assert await socket.close_code() in codes

    async def test_fragments_with_control_frames_between(self, victim: Target) -> None:
        async with Socket.open_websocket(victim.url) as socket:
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

    async def test_byte_by_byte(self, victim: Target) -> None:
        async with Socket.open_websocket(victim.url) as socket:
            for byte in frame(TEXT, b"40"):
                socket.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await socket.read_frame())[1].startswith(b"40{")

    async def test_fragmented_binary(self, victim: Target) -> None:
        async with Socket.open_websocket(victim.url) as socket:
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

    async def test_vanishing(self, victim: Target) -> None:
        for data in (b"", frame(TEXT, b"40"), b"\x81", frame(TEXT, b"42[", fin=False)):
            async with Socket.open_websocket(victim.url) as socket:
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


def as_polling(message: str | bytes) -> str:
    return message if isinstance(message, str) else "b" + base64.b64encode(message).decode()
