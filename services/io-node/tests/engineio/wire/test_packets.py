"""The Engine.IO codec: what it reads, what it refuses, and the bytes it writes."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from io_node.engineio.api import Outbound
from io_node.engineio.wire.frames import ws_frame
from io_node.engineio.wire.packets import (
    CLOSE,
    NOOP,
    PING,
    PROBE_PONG,
    Close,
    Message,
    Noop,
    Open,
    Ping,
    Pong,
    Upgrade,
    decode_packet,
    decode_payload,
    encode_payload,
    open_packet,
)
from sio_cluster.protocol.errors import MalformedPacket


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("4hello", Message("hello")),
        ("4", Message("")),
        ("4\x00€😀", Message("\x00€😀")),
        ("bAQIDBA==", Message(b"\x01\x02\x03\x04")),
        ("b", Message(b"")),
        ("3", Pong("")),
        ("3probe", Pong("probe")),
        ("2probe", Ping("probe")),
        ("1", Close()),
        ("5", Upgrade()),
        ("6", Noop()),
        ("0{}", Open()),
    ],
)
def test_reads_every_packet_type(text: str, packet: object) -> None:
    assert decode_packet(text) == packet


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "abc",
        "-1",
        "٤hello",
        " 4",
        "\x1e",
        "b!!!!",
        "bAQIDBA",
        "bAQI=DBA=",
        "b€",
        "bAQ ID",
        "bAQ\tID",
        "b\nAQ=",
        "B",
    ],
)
def test_refuses_what_is_no_packet(text: str) -> None:
    with pytest.raises(MalformedPacket):
        decode_packet(text)


@pytest.mark.parametrize("text", ["bAQIDBA==\n", "bAQIDBA==\r\n", "bAQI\r\nDBA=\n=", "b\nAQIDBA=="])
def test_line_ends_in_base64_do_not_count(text: str) -> None:
    assert decode_packet(text) == Message(b"\x01\x02\x03\x04")


def test_payload_is_decoded_packet_by_packet() -> None:
    packets = decode_payload(b"4one\x1ebAQI=\x1e3\x1e?")
    assert next(packets) == Message("one")
    assert next(packets) == Message(b"\x01\x02")
    assert next(packets) == Pong("")
    with pytest.raises(MalformedPacket):
        next(packets)


@pytest.mark.parametrize("body", [b"", b"4a\x1e", b"\x1e4a", b"4a\x1e\x1e4b"])
def test_payload_with_an_empty_packet_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedPacket):
        list(decode_payload(body))


@pytest.mark.parametrize("body", [b"4\xff", b"4ok\x1e4\xc3", b"4\xed\xa0\x80"])
def test_payload_that_is_not_utf_8_yields_nothing(body: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode_payload(body)


@given(st.binary(max_size=200))
def test_payload_decoder_raises_nothing_but_malformed_packet(body: bytes) -> None:
    with contextlib.suppress(MalformedPacket):
        list(decode_payload(body))


@given(st.lists(st.one_of(st.text(st.characters(exclude_characters="\x1e", codec="utf-8")), st.binary()), min_size=1))
def test_payload_round_trip(messages: list[str | bytes]) -> None:
    outbound = [Outbound(m.encode()) if isinstance(m, str) else Outbound(None, [m]) for m in messages]
    body = encode_payload([packet for message in outbound for packet in message.polling_packets])
    assert list(decode_payload(body)) == [Message(message) for message in messages]


def test_bytes_on_the_wire() -> None:
    assert (PING.ws_frames, PING.polling_packets) == (b"\x81\x012", [b"2"])
    assert (CLOSE.ws_frames, CLOSE.polling_packets) == (b"\x81\x011", [b"1"])
    assert (NOOP.ws_frames, NOOP.polling_packets) == (b"\x81\x016", [b"6"])
    assert PROBE_PONG.ws_frames == b"\x81\x063probe"
    opening = open_packet("node.sid", ["websocket"], 300, 200, 1_000_000)
    assert opening.polling_packets[0].startswith(b"0{")
    assert json.loads(opening.polling_packets[0][1:]) == {
        "sid": "node.sid",
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    }


def test_outbound_has_text_first_and_attachments_behind_it() -> None:
    message = Outbound(b'51-["x"]', [b"\x01\x02", b""])
    assert message.ws_frames == b"\x81\x09" + b'451-["x"]' + b"\x82\x02\x01\x02" + b"\x82\x00"
    assert message.polling_packets == [b'451-["x"]', b"bAQI=", b"b"]
    assert message.size == 9 + 2
    assert message.ws_frames is message.ws_frames
    assert message.polling_packets is message.polling_packets


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65535, b"\x81\x7e\xff\xff"),
        (65536, b"\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
def test_frame_lengths(size: int, head: bytes) -> None:
    assert ws_frame(b"x" * size) == head + b"x" * size


def test_attachments_survive_base64() -> None:
    data = bytes(range(256))
    assert Outbound(None, [data]).polling_packets == [b"b" + base64.b64encode(data)]
