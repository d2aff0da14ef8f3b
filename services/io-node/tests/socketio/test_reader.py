"""Messages of one connection put together to packets."""

import json
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from io_node.socketio.reader import PacketReader
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.socketio import (
    MAX_ACK_ID,
    RESERVED_EVENTS,
    Ack,
    Connect,
    Disconnect,
    Event,
    Packet,
    encode,
)


def test_attachments_complete_their_packet() -> None:
    reader = PacketReader(10, 1_000_000)
    data = b'["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert reader.feed(f"52-/chat,7{data.decode()}") is None
    assert reader.feed(b"\x01") is None
    assert reader.feed(b"") == Event("/chat", 7, data, [b"\x01", b""])
    assert reader.feed('2["next"]') == Event("/", None, b'["next"]')


def test_attachments_of_an_ack() -> None:
    reader = PacketReader(10, 1_000_000)
    assert reader.feed('61-789[{"_placeholder":true,"num":0}]') is None
    assert reader.feed(b"abc") == Ack("/", 789, b'[{"_placeholder":true,"num":0}]', [b"abc"])


def test_text_in_place_of_an_attachment() -> None:
    reader = PacketReader(10, 1_000_000)
    reader.feed('51-["x"]')
    with pytest.raises(MalformedPacket):
        reader.feed('2["y"]')


@pytest.mark.parametrize("before", [[], ['2["x"]'], ['51-["x"]', b"1"]])
def test_binary_without_need(before: list[str | bytes]) -> None:
    reader = PacketReader(10, 1_000_000)
    for message in before:
        reader.feed(message)
    with pytest.raises(MalformedPacket):
        reader.feed(b"surplus")


def test_attachments_are_bounded_together() -> None:
    reader = PacketReader(10, 1_000)
    reader.feed('53-["x"]')
    reader.feed(b"x" * 500)
    with pytest.raises(MalformedPacket):
        reader.feed(b"x" * 500)


# --- properties

_names = st.text(string.ascii_letters + "/é-_", max_size=12).map("/".__add__)
_ids = st.integers(0, MAX_ACK_ID)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
_event_data = st.tuples(st.text().filter(lambda name: name not in RESERVED_EVENTS), st.lists(_json, max_size=4)).map(
    lambda event: msgspec.json.encode([event[0], *event[1]])
)
_attachments = st.lists(st.binary(max_size=20), max_size=10)


def _has_placeholder(packet: Packet) -> bool:
    return isinstance(packet, Event | Ack) and b"_placeholder" in packet.data


_packets = (
    st.builds(Connect, _names, st.none() | st.dictionaries(st.text(), _json).map(msgspec.json.encode))
    | st.builds(Disconnect, _names)
    | st.builds(Event, _names, st.none() | _ids, _event_data, _attachments)
    | st.builds(Ack, _names, _ids, st.lists(_json).map(msgspec.json.encode), _attachments)
).filter(lambda packet: not _has_placeholder(packet))


@given(_packets)
def test_reads_back_what_is_encoded(packet: Packet) -> None:
    reader = PacketReader(10, 1_000_000)
    read = reader.feed(encode(packet))
    for attachment in packet.attachments if isinstance(packet, Event | Ack) else []:
        assert read is None
        read = reader.feed(attachment)
    assert read == packet


_fragments = [*'0123456-/,?[]{}" é', "/chat,", '["x"]', '["connect"]', "\\ud800", "\ud800", "NaN", "1e999", "null"]
_fragments += ['{"_placeholder":true,"num":0}', "9" * 20]
_almost = st.lists(st.sampled_from(_fragments), max_size=12).map("".join)


@given(st.lists(st.text() | _almost | st.binary(max_size=30), max_size=5))
def test_nothing_but_malformed_packet_is_ever_raised(messages: list[str | bytes]) -> None:
    reader = PacketReader(2, 100)
    try:
        for message in messages:
            packet = reader.feed(message)
            if isinstance(packet, Event | Ack):
                assert isinstance(json.loads(packet.data), list)
                assert len(packet.attachments) <= 2
    except MalformedPacket:
        pass
