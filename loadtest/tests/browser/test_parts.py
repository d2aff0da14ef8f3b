"""The parts of the simulated browser that need no connection."""

import gzip
import random
import struct
import time
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loadtest.browser import BrowserOptions, packets
from loadtest.browser.attempt import Backoff
from loadtest.browser.frames import BINARY, CLOSE, PING, TEXT, FrameError, FrameReader, Inflate, masked
from loadtest.browser.http import HttpError, Response, ResponseReader
from loadtest.browser.packets import MAX_WAITING, Acks
from loadtest.browser.site import Site


def server_frame(first: int, payload: bytes) -> bytes:
    """A frame as a server writes it: unmasked."""
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + payload
    return struct.pack("!BBQ", first, 127, size) + payload


class Heard:
    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.others: list[tuple[int, bytes]] = []
        self.reader = FrameReader(self.texts.append, lambda opcode, payload: self.others.append((opcode, payload)))


def feed_in_pieces(heard: Heard, data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, stop in pairwise(edges):
        heard.reader.feed(data[start:stop])


@given(st.lists(st.integers(0, 70_000), max_size=5), st.lists(st.integers(0, 1 << 20), max_size=8))
def test_messages_come_out_however_they_were_cut(sizes: list[int], cuts: list[int]) -> None:
    messages = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    heard = Heard()
    feed_in_pieces(heard, b"".join(server_frame(0x81, message) for message in messages), cuts)
    assert heard.texts == messages
    assert heard.reader.frames == len(messages)


@given(st.lists(st.integers(0, 1 << 10), max_size=6))
def test_fragments_control_frames_and_binary(cuts: list[int]) -> None:
    heard = Heard()
    data = server_frame(0x01, b"Hel") + server_frame(0x89, b"p") + server_frame(0x80, b"lo")
    data += server_frame(0x82, b"\x00\x01") + server_frame(0x81, b"!") + server_frame(0x88, b"\x03\xe8")
    feed_in_pieces(heard, data, cuts)
    assert heard.texts == [b"Hello", b"!"]
    assert heard.others == [(PING, b"p"), (BINARY, b"\x00\x01"), (CLOSE, b"\x03\xe8")]


@pytest.mark.parametrize("takeover", [True, False])
def test_compressed_messages(takeover: bool) -> None:
    heard = Heard()
    heard.reader.use(Inflate(takeover=takeover))
    context = zlib.compressobj(wbits=-15)
    for message in (b"again and again" * 20, b"again and again" * 30):
        if not takeover:
            context = zlib.compressobj(wbits=-15)
        body = (context.compress(message) + context.flush(zlib.Z_SYNC_FLUSH))[:-4]
        heard.reader.feed(server_frame(0xC1, body))
    assert heard.texts == [b"again and again" * 20, b"again and again" * 30]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x81\x80\0\0\0\0", id="masked"),
        pytest.param(server_frame(0x80, b"x"), id="a continuation of nothing"),
        pytest.param(server_frame(0x01, b"x") + server_frame(0x81, b"y"), id="a message within another"),
        pytest.param(server_frame(0xC1, b"x"), id="compression that was not agreed on"),
        pytest.param(b"\x81\x7f" + (1 << 40).to_bytes(8, "big"), id="too large"),
    ],
)
def test_frames_that_break_the_rules(data: bytes) -> None:
    with pytest.raises(FrameError):
        Heard().reader.feed(data)


def test_a_stopped_reader_hands_nothing_on() -> None:
    heard = Heard()

    def take_one(message: bytes) -> None:
        heard.texts.append(message)
        heard.reader.stop()

    heard.reader.text = take_one
    heard.reader.feed(server_frame(0x81, b"one") * 3)
    assert heard.texts == [b"one"]


@given(st.integers(0, 70_000), st.binary(min_size=4, max_size=4))
def test_frames_are_masked_as_rfc_6455_says(size: int, key: bytes) -> None:
    payload = random.Random(size).randbytes(size)
    frame = masked(TEXT, payload, key)
    head = len(frame) - size
    assert frame[0] == 0x81
    assert frame[1] & 0x80
    assert frame[head - 4 : head] == key
    assert bytes(byte ^ key[i % 4] for i, byte in enumerate(frame[head : head + 1000])) == payload[:1000]
    assert frame[-1:] == bytes([payload[-1] ^ key[(size - 1) % 4]] if size else key[3:])


def test_backoff_is_the_official_clients() -> None:
    backoff = Backoff(1.0, 5.0, 0.5, random.Random(1))
    waits = [backoff.next_s() for _ in range(20)]
    assert 0.5 <= waits[0] <= 1.5
    assert 1.0 <= waits[1] <= 3.0
    assert 2.0 <= waits[2] <= 5.0
    assert all(4.0 <= wait <= 5.0 for wait in waits[3:])
    backoff.reset()
    assert backoff.next_s() <= 1.5
    firsts = []
    for _ in range(400):
        backoff.reset()
        firsts.append(backoff.next_s())
    assert min(firsts) < 0.6  # to both sides
    assert max(firsts) > 1.4


@pytest.mark.parametrize(
    ("packet", "meaning"),
    [
        (b'0/loadtest,{"sid":"s"}', (packets.CONNECT, "/loadtest", None, b'{"sid":"s"}')),
        (b'0{"sid":"s"}', (packets.CONNECT, "/", None, b'{"sid":"s"}')),
        (b"1/loadtest,", (packets.DISCONNECT, "/loadtest", None, b"")),
        (b"1", (packets.DISCONNECT, "/", None, b"")),
        (b'3/loadtest,12["a"]', (packets.ACK, "/loadtest", 12, b'["a"]')),
        (b"30[]", (packets.ACK, "/", 0, b"[]")),
        (b'61-/x,7[{"_placeholder":true,"num":0}]', (packets.BINARY_ACK, "/x", 7, b'[{"_placeholder":true,"num":0}]')),
        (b'2/x,["\n"]', (packets.EVENT, "/x", None, b'["\n"]')),
    ],
)
def test_packets(packet: bytes, meaning: tuple[int, str, int | None, bytes]) -> None:
    assert packets.decode(packet) == meaning


@pytest.mark.parametrize("packet", [b"", b"7", b"{}", b"x0"])
def test_what_is_no_packet(packet: bytes) -> None:
    assert packets.decode(packet) is None


def test_packets_are_written_as_the_official_client_does() -> None:
    assert packets.encode(packets.CONNECT, "/") == b"0"
    assert packets.encode(packets.CONNECT, "/loadtest", {"a": "ü"}) == '0/loadtest,{"a":"ü"}'.encode()
    assert packets.encode_event(b"2/x,", "say", [1, None], 0) == b'2/x,0["say",1,null]'
    assert packets.last_string(b'2/x,["say",1,"offset"]') == "offset"
    assert packets.last_string(b'2/x,["say",1]') is None


BODY = b"2\x1e40{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n2\x1e4\r\n3;x=y\r\n0{}\r\n0\r\n\r\n"
ZIPPED = gzip.compress(BODY)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nSet-Cookie: a=b\r\n\r\n" + BODY, id="length"),
        pytest.param(CHUNKED, id="chunked"),
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length:6\r\n\r\n" + BODY, id="after 100"
        ),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(ZIPPED), ZIPPED),
            id="gzip",
        ),
    ],
)
@given(st.lists(st.integers(0, 200), max_size=6))
def test_responses_come_out_however_they_were_cut(data: bytes, cuts: list[int]) -> None:
    reader = ResponseReader()
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    answers = [reader.feed(data[start:stop]) for start, stop in pairwise(edges)]
    assert answers[:-1] == [None] * (len(answers) - 1)
    response = answers[-1]
    assert isinstance(response, Response)
    assert (response.status, response.body) == (200, BODY)
    assert reader.rest == b""


def test_a_body_that_ends_with_the_connection() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 502 Bad Gateway\r\n\r\nsorry") is None
    response = reader.end()
    assert response is not None
    assert (response.status, response.body) == (502, b"sorry")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
def test_responses_that_are_none(data: bytes) -> None:
    with pytest.raises(HttpError):
        ResponseReader().feed(data)


def test_cookies_are_kept_and_dropped() -> None:
    site = Site("http://localhost:8080", "/socket.io/", {}, None)
    site.keep_cookies(["io=1; Path=/; HttpOnly", "b=2; Max-Age=100", "c=3; Expires=Wed, 01 Jan 2020 00:00:00 GMT"])
    assert b"\r\nCookie: io=1; b=2\r\n" in site.request("GET", "EIO=4")
    site.keep_cookies(["b=; Max-Age=0"])
    assert b"\r\nCookie: io=1\r\n" in site.request("GET", "EIO=4")


def test_headers_are_a_browsers_unless_told_otherwise() -> None:
    site = Site("ws://user@example.org:81/ignored", "/live", {"user-agent": "mine", "X-Token": "t"}, None)
    head = site.request("GET", "EIO=4").decode()
    assert head.startswith("GET /live/?EIO=4 HTTP/1.1\r\nHost: example.org:81\r\n")
    assert "Origin: http://example.org:81\r\n" in head
    assert "user-agent: mine\r\n" in head
    assert "Mozilla" not in head
    assert "X-Token: t\r\n" in head


@pytest.mark.parametrize("url", ["ftp://localhost", "localhost:8080", "http://"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ValueError, match="is not an http"):
        Site(url, "/socket.io/", {}, None)


def test_options_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="transport"):
        BrowserOptions(transport="carrier pigeon")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="namespace"):
        BrowserOptions(namespace="loadtest")


def test_acks_are_bounded_and_given_up() -> None:
    acks = Acks()
    got: list[bytes | None] = []
    first = acks.expect(got.append)
    for _ in range(MAX_WAITING):
        last = acks.expect(lambda _: None)
    assert got == [None]
    acks.take(first, b"[]")
    assert (got, acks.given_up) == ([None], 1)
    acks.forget(last)
    acks.give_up_all()
    assert acks.given_up == MAX_WAITING + 1


def test_cutting_is_fast_enough() -> None:
    """30,000 deliveries a second on a core leave 33 us for each; cutting one out must be a small part of that."""
    heard = Heard()
    data = server_frame(0x81, b"4" + b"x" * 127)
    started = time.process_time()
    for _ in range(20_000):
        heard.reader.feed(data)
    assert (time.process_time() - started) / 20_000 < 5e-6
