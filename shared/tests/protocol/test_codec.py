"""Batches on the wire: their bytes are pinned, and whatever goes in comes out."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sio_cluster.protocol.codec import (
    decode_app_inbox,
    decode_downlink,
    decode_uplink,
    encode_app_inbox,
    encode_downlink,
    encode_uplink,
)
from sio_cluster.protocol.errors import MalformedBatch, MalformedInput, UnknownVersion
from sio_cluster.protocol.messages import (
    PROTOCOL_VERSION,
    Accept,
    Ack,
    AckExpected,
    AckMissed,
    AckReceived,
    AckRequest,
    AppInboxItem,
    Canary,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectMany,
    Emit,
    EventReceived,
    Evict,
    Fact,
    Handshake,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Refuse,
    RoomChanged,
    ServerAnswer,
    ServerEvent,
)

SID = "io1-abcdef.AAAAAAAAAAAAAAAA"
TRACE = bytes(range(24))
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "x")], "192.0.2.1", 80)
FACTS: list[Fact] = [
    ClientConnected(SID, "c1", "/chat", b'{"t":1}', HANDSHAKE, "polling", b"\x01" * 32, "io2-abcdef", 2, "AAAA"),
    EventReceived(SID, 7, b'["a",{"_placeholder":true,"num":0}]', [b"\x00\xff"], TRACE),
    AckReceived(SID, (5 << 32) + 1, b"[]"),
    ClientUpgraded(SID, "websocket", 2),
    RoomChanged(SID, 42, True),
    ClientDisconnected(SID, "ping timeout", 2, 120_000),
]
COMMANDS: list[Command] = [
    Accept(SID, 2),
    Refuse(SID, b'{"message":"no"}', 2),
    Emit(
        "/chat",
        b'2/chat,["a"]',
        [b"\x01"],
        ["room", 42],
        [SID],
        True,
        AckRequest("app-abcdef", 1, True, True),
        ["staff", 7],
        TRACE,
    ),
    Ack(SID, b"3/chat,7[]", trace=TRACE),
    Join(SID, "42", True),
    Leave(SID, 42),
    CloseRoom("/chat", "room"),
    Disconnect(SID, True),
    Evict(SID, 3),
    Canary(9),
    JoinMany([SID], ["room", 42]),
    LeaveMany([SID], [42]),
    DisconnectMany([SID], True),
]
INBOX_ITEMS: list[AppInboxItem] = [
    AckReceived(SID, 1, b"[1]"),
    AckMissed(SID, 2),
    AckExpected("io1-aaaaaa", 3, [SID], [SID + "a"], [SID + "b"], 1, 2),
    ServerEvent(b'["reload",1]', [b"x"], 4),
    ServerEvent(b'["reload"]'),
    ServerAnswer(4, b"[]", [], "failed"),
    Canary(2),
]

# Change these only together with PROTOCOL_VERSION: nodes of two releases read each other's batches.
GOLDEN_UPLINK = (
    "9402aa696f312d61626364656603969ba9636f6e6e6563746564bb696f312d6162636465662e4141414141414141414141414141"
    "4141a26331a52f63686174c4077b2274223a317d98a3474554ab2f736f636b65742e696f2fa545494f3d349192a4686f7374a178"
    "a93139322e302e322e3150a468747470a3312e31a7706f6c6c696e67c42001010101010101010101010101010101010101010101"
    "01010101010101010101aa696f322d61626364656602a44141414196a56576656e74bb696f312d6162636465662e414141414141"
    "4141414141414141414107c4235b2261222c7b225f706c616365686f6c646572223a747275652c226e756d223a307d5d91c40200"
    "ffc418000102030405060708090a0b0c0d0e0f101112131415161795a361636bbb696f312d6162636465662e4141414141414141"
    "4141414141414141cf0000000500000001c4025b5d9094a87570677261646564bb696f312d6162636465662e4141414141414141"
    "4141414141414141a9776562736f636b65740294a4726f6f6dbb696f312d6162636465662e414141414141414141414141414141"
    "412ac395ac646973636f6e6e6563746564bb696f312d6162636465662e41414141414141414141414141414141ac70696e672074"
    "696d656f757402ce0001d4c0"
)
GOLDEN_DOWNLINK = (
    "9402aa6170702d616263646566049d93a6616363657074bb696f312d6162636465662e4141414141414141414141414141414102"
    "94a6726566757365bb696f312d6162636465662e41414141414141414141414141414141c4107b226d657373616765223a226e6f"
    "227d029aa4656d6974a52f63686174c40c322f636861742c5b2261225d91c4010192a4726f6f6d2a91bb696f312d616263646566"
    "2e41414141414141414141414141414141c395aa6170702d61626364656601c3c3c292a5737461666607c4180001020304050607"
    "08090a0b0c0d0e0f101112131415161795a6616e73776572bb696f312d6162636465662e41414141414141414141414141414141"
    "c40a332f636861742c375b5d90c418000102030405060708090a0b0c0d0e0f101112131415161794a46a6f696ebb696f312d6162"
    "636465662e41414141414141414141414141414141a23432c394a56c65617665bb696f312d6162636465662e4141414141414141"
    "41414141414141412ac293aa636c6f73655f726f6f6da52f63686174a4726f6f6d93aa646973636f6e6e656374bb696f312d6162"
    "636465662e41414141414141414141414141414141c393a56576696374bb696f312d6162636465662e4141414141414141414141"
    "41414141410392a663616e6172790993a96a6f696e5f6d616e7991bb696f312d6162636465662e41414141414141414141414141"
    "41414192a4726f6f6d2a93aa6c656176655f6d616e7991bb696f312d6162636465662e4141414141414141414141414141414191"
    "2a93af646973636f6e6e6563745f6d616e7991bb696f312d6162636465662e41414141414141414141414141414141c3"
)
GOLDEN_APP_INBOX = (
    "9402aa696f312d616263646566059795a361636bbb696f312d6162636465662e4141414141414141414141414141414101c4035b"
    "315d9093a66d6973736564bb696f312d6162636465662e414141414141414141414141414141410298a86578706563746564aa69"
    "6f312d6161616161610391bb696f312d6162636465662e4141414141414141414141414141414191bc696f312d6162636465662e"
    "414141414141414141414141414141416191bc696f312d6162636465662e4141414141414141414141414141414162010294ac73"
    "65727665725f6576656e74c40c5b2272656c6f6164222c315d91c401780494ac7365727665725f6576656e74c40a5b2272656c6f"
    "6164225d90c095ad7365727665725f616e7377657204c4025b5d90a66661696c656492a663616e61727902"
)


def test_golden_bytes() -> None:
    assert encode_uplink("io1-abcdef", 3, FACTS).hex() == GOLDEN_UPLINK
    assert encode_downlink("app-abcdef", 4, COMMANDS).hex() == GOLDEN_DOWNLINK
    assert encode_app_inbox("io1-abcdef", 5, INBOX_ITEMS).hex() == GOLDEN_APP_INBOX


def test_golden_bytes_decode() -> None:
    uplink = decode_uplink(bytes.fromhex(GOLDEN_UPLINK))
    assert (uplink.version, uplink.node, uplink.seq, uplink.facts) == (2, "io1-abcdef", 3, FACTS)
    downlink = decode_downlink(bytes.fromhex(GOLDEN_DOWNLINK))
    assert (downlink.version, downlink.node, downlink.seq, downlink.commands) == (2, "app-abcdef", 4, COMMANDS)
    inbox = decode_app_inbox(bytes.fromhex(GOLDEN_APP_INBOX))
    assert (inbox.version, inbox.node, inbox.seq, inbox.items) == (2, "io1-abcdef", 5, INBOX_ITEMS)


def test_fields_that_an_older_node_left_out_take_their_defaults() -> None:
    commands = [["emit", "/", b'2["a"]'], ["disconnect", SID], ["accept", SID], ["refuse", SID, b"{}"]]
    entry = msgspec.msgpack.encode([2, "app-abcdef", 1, commands])
    assert decode_downlink(entry).commands == [
        Emit("/", b'2["a"]'), Disconnect(SID, False), Accept(SID, 0), Refuse(SID, b"{}", 0)
    ]  # fmt: skip
    handshake = ["GET", "/socket.io/", "EIO=4", [["host", "x"]], "192.0.2.1", 80]
    facts = [
        ["connected", SID, "c1", "/", None, handshake, "polling"],
        ["upgraded", SID, "websocket"],
        ["disconnected", SID, "ping timeout"],
    ]
    assert decode_uplink(msgspec.msgpack.encode([2, "io1-abcdef", 1, facts])).facts == [
        ClientConnected(SID, "c1", "/", None, HANDSHAKE, "polling", b"", "", 0, ""),
        ClientUpgraded(SID, "websocket", 0),
        ClientDisconnected(SID, "ping timeout", 0, 0),
    ]


def test_an_older_app_node_does_not_hear_of_missed_answers() -> None:
    commands = [["emit", "/", b'21["a"]', [], [SID], [], False, ["app-abcdef", 1, True]]]
    [emit] = decode_downlink(msgspec.msgpack.encode([2, "app-abcdef", 1, commands])).commands
    assert emit == Emit("/", b'21["a"]', to=[SID], ack=AckRequest("app-abcdef", 1, True, False))


def test_an_older_node_says_nothing_of_traces() -> None:
    facts = [["event", SID, 7, b'["a"]', []]]
    assert decode_uplink(msgspec.msgpack.encode([2, "io1-abcdef", 1, facts])).facts == [
        EventReceived(SID, 7, b'["a"]', trace=None)
    ]
    emit: list[Any] = ["emit", "/", b'2["a"]', [], None, [], False, None, []]
    answer: list[Any] = ["answer", SID, b"37[]", []]
    assert decode_downlink(msgspec.msgpack.encode([2, "app-abcdef", 1, [emit, answer]])).commands == [
        Emit("/", b'2["a"]', trace=None), Ack(SID, b"37[]", trace=None)
    ]  # fmt: skip


def test_what_is_not_traced_is_one_byte_longer_for_it() -> None:
    event = EventReceived(SID, 7, b'["a"]')
    without = msgspec.msgpack.encode([2, "io1-abcdef", 1, [["event", SID, 7, b'["a"]', []]]])
    assert len(encode_uplink("io1-abcdef", 1, [event])) == len(without) + 1
    traced = EventReceived(SID, 7, b'["a"]', trace=TRACE)
    assert len(encode_uplink("io1-abcdef", 1, [traced])) == len(without) + 26


def test_fields_that_a_newer_node_added_are_passed_over() -> None:
    entry = msgspec.msgpack.encode([2, "app-abcdef", 1, [["accept", SID, 0, "new field"]], "new field"])
    assert decode_downlink(entry).commands == [Accept(SID)]


@pytest.mark.parametrize("decode", [decode_uplink, decode_downlink, decode_app_inbox])
class TestMalformed:
    @pytest.mark.parametrize(
        "entry",
        [
            b"",
            b"\xc1",
            b"\x94\x02",
            msgspec.msgpack.encode({"version": 2}),
            msgspec.msgpack.encode([]),
            msgspec.msgpack.encode([2, "n", 1]),
            msgspec.msgpack.encode([2, "n", "one", []]),
            msgspec.msgpack.encode([2, "n", 1, [["no such tag", SID]]]),
            msgspec.msgpack.encode([2, "n", 1, [[]]]),
            msgspec.msgpack.encode([2, "n", 1, [["accept", 5]]]),
            msgspec.msgpack.encode([2, b"\xff", 1, []]),
            b"\x94\x02\xa2\xff\xfe\x01\x90",
            b"\x91" * 100_000,
        ],
        ids=range(13),
    )
    def test_refused(self, decode: Any, entry: bytes) -> None:
        with pytest.raises(MalformedBatch) as caught:
            decode(entry)
        assert caught.type is MalformedBatch

    @pytest.mark.parametrize("rest", [["n", 1, []], ["n", {"other": "form"}], []])
    def test_other_versions_are_told_apart(self, decode: Any, rest: list[Any]) -> None:
        with pytest.raises(UnknownVersion, match="protocol version 3, this node speaks 2"):
            decode(msgspec.msgpack.encode([PROTOCOL_VERSION + 1, *rest]))

    @given(entry=st.binary(max_size=200))
    def test_anything_else_is_malformed_input(self, decode: Any, entry: bytes) -> None:
        try:
            decode(entry)
        except MalformedInput:
            return

    @given(cut=st.integers(0, 400), flip=st.integers(0, 399), bits=st.integers(1, 255))
    def test_damaged_batches_never_raise_anything_else(self, decode: Any, cut: int, flip: int, bits: int) -> None:
        entry = bytearray(encode_uplink("io1-abcdef", 3, FACTS))
        entry[flip % len(entry)] ^= bits
        for damaged in (bytes(entry), bytes(entry[:cut])):
            try:
                decode(damaged)
            except MalformedInput:
                continue


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
numbers = st.integers(0, 2**53)
blobs = st.lists(st.binary(max_size=30), max_size=3)
rooms = texts | st.integers(-(2**63), 2**64 - 1)
handshakes = st.builds(
    Handshake, texts, texts, texts, st.lists(st.tuples(texts, texts), max_size=3), texts, numbers, texts, texts
)
acks = st.builds(AckReceived, texts, numbers, st.binary(max_size=30), blobs)
facts = st.lists(
    st.builds(ClientConnected, texts, texts, texts, st.none() | st.binary(max_size=30), handshakes, texts)
    | st.builds(EventReceived, texts, st.none() | numbers, st.binary(max_size=30), blobs)
    | acks
    | st.builds(ClientUpgraded, texts, texts)
    | st.builds(RoomChanged, texts, rooms, st.booleans())
    | st.builds(ClientDisconnected, texts, texts),
    max_size=5,
)
commands = st.lists(
    st.builds(Accept, texts)
    | st.builds(Refuse, texts, st.binary(max_size=30))
    | st.builds(
        Emit,
        texts,
        st.binary(max_size=30),
        blobs,
        st.none() | st.lists(rooms, max_size=3),
        st.lists(texts, max_size=3),
        st.booleans(),
        st.none() | st.builds(AckRequest, texts, numbers, st.booleans(), st.booleans()),
    )
    | st.builds(Ack, texts, st.binary(max_size=30), blobs)
    | st.builds(Join, texts, rooms, st.booleans())
    | st.builds(Leave, texts, rooms, st.booleans())
    | st.builds(CloseRoom, texts, rooms)
    | st.builds(Disconnect, texts, st.booleans())
    | st.builds(Canary, numbers),
    max_size=5,
)


@given(texts, numbers, facts)
def test_uplink_round_trip(node: str, seq: int, sent: list[Any]) -> None:
    batch = decode_uplink(encode_uplink(node, seq, sent))
    assert (batch.version, batch.node, batch.seq, batch.facts) == (PROTOCOL_VERSION, node, seq, sent)


@given(texts, numbers, commands)
def test_downlink_round_trip(node: str, seq: int, sent: list[Any]) -> None:
    batch = decode_downlink(encode_downlink(node, seq, sent))
    assert (batch.version, batch.node, batch.seq, batch.commands) == (PROTOCOL_VERSION, node, seq, sent)


@given(texts, numbers, st.lists(acks | st.builds(Canary, numbers), max_size=5))
def test_app_inbox_round_trip(node: str, seq: int, sent: list[Any]) -> None:
    batch = decode_app_inbox(encode_app_inbox(node, seq, sent))
    assert (batch.version, batch.node, batch.seq, batch.items) == (PROTOCOL_VERSION, node, seq, sent)
