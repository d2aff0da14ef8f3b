"""Socket.IO packets: what a client may send, what it may not, and what the two services write."""

import json

import pytest

from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.json_payloads import MAX_DEPTH
from sio_cluster.protocol.socketio import (
    MAX_ACK_ID,
    MAX_NAMESPACE_CHARS,
    RESERVED_EVENTS,
    Ack,
    Connect,
    Disconnect,
    Event,
    Packet,
    encode,
    encode_ack,
    encode_connect_error,
    encode_connected,
    encode_disconnect,
    encode_event,
    event_name,
    parse,
)

GOOD = [
    ("0", Connect("/")),
    ("0{}", Connect("/", b"{}")),
    ('0{"token":"123"}', Connect("/", b'{"token":"123"}')),
    ("0/,", Connect("/")),  # the Swift client always names the namespace
    ('0/,{"token":"x"}', Connect("/", b'{"token":"x"}')),
    ("1/,", Disconnect("/")),
    ("0/custom", Connect("/custom")),
    ("0/custom,", Connect("/custom")),
    ('0/custom,{"a":1}', Connect("/custom", b'{"a":1}')),
    ('0"token"', Connect("/", b'"token"')),
    ('0/custom,["a",1]', Connect("/custom", b'["a",1]')),
    ("0null", Connect("/", b"null")),
    ("0false", Connect("/", b"false")),
    ("0/custom,15", Connect("/custom", b"15")),
    ("0-1.5", Connect("/", b"-1.5")),
    ("0" + "[" * MAX_DEPTH + "]" * MAX_DEPTH, Connect("/", b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)),
    ("0" + "1" * 300, Connect("/", b"1" * 300)),
    ('0/custom?token=1,{"a":1}', Connect("/custom", b'{"a":1}')),
    ("1", Disconnect("/")),
    ("1/custom,", Disconnect("/custom")),
    ("1/custom", Disconnect("/custom")),
    ('2["message",1,"2",{"3":[true]}]', Event("/", None, b'["message",1,"2",{"3":[true]}]')),
    ('2[7,"a number as a name"]', Event("/", None, b'[7,"a number as a name"]')),
    ('2456["x"]', Event("/", 456, b'["x"]')),
    ('20["x"]', Event("/", 0, b'["x"]')),
    (f'2{MAX_ACK_ID}["x"]', Event("/", MAX_ACK_ID, b'["x"]')),
    ('2/chat,7["x"]', Event("/chat", 7, b'["x"]')),
    ('2["é\\u0000 \U0001f600"]', Event("/", None, '["é\\u0000 \U0001f600"]'.encode())),
    ('2["half a pair","\\ud83d"]', Event("/", None, b'["half a pair","\\ud83d"]')),
    ('2["x",{"_placeholder":true,"num":5}]', Event("/", None, b'["x",{"_placeholder":true,"num":5}]')),
    ("312[]", Ack("/", 12, b"[]")),
    ('3/chat,0["ok",null]', Ack("/chat", 0, b'["ok",null]')),
]

BAD = {
    "empty": "",
    "type is a letter": "abc",
    "type beyond 6": '7["x"]',
    "type is a digit of another script": "٢[]",
    "CONNECT payload is no JSON": "0{",
    "CONNECT with an ack id": "05{}",
    "CONNECT with a bare word": "0token",
    "CONNECT with NaN": "0NaN",
    "CONNECT with a number beyond a double": "0" + "9" * 400,
    "CONNECT that is nested too deeply": "0" + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
    "CONNECT with attachments": "01-{}",
    "DISCONNECT with a payload": '1["x"]',
    "CONNECT_ERROR from a client": '4{"message":"x"}',
    "EVENT without payload": "2",
    "EVENT payload is an object": "2{}",
    "EVENT payload is text": '2"x"',
    "EVENT payload is empty": "2[]",
    "EVENT name is null": "2[null]",
    "EVENT name is true": "2[true]",
    "EVENT name is an object": '2[{"a":1}]',
    "EVENT name is an array": '2[["x"]]',
    "EVENT with garbage for an id": '2abc["x"]',
    "EVENT with attachments": '21-["x"]',
    "EVENT with trailing garbage": '2["x"]]',
    "EVENT truncated": '2["x"',
    "EVENT id beyond 2**53": f'2{MAX_ACK_ID + 1}["x"]',
    "EVENT id of 5000 digits": "2" + "9" * 5000 + '["x"]',
    "EVENT id is negative": '2-1["x"]',
    "EVENT id is fractional": '21.5["x"]',
    "NaN": '2["x",NaN]',
    "Infinity": '2["x",Infinity]',
    "-Infinity": '2["x",-Infinity]',
    "NaN beside a lone surrogate": '2["\\ud800",NaN]',
    "1e999": '2["x",1e999]',
    "1e999 beside a lone surrogate": '2["\\ud800",-1e999]',
    "integer of 400 digits": f'2["x",1{"0" * 400}]',
    "integer of 400 digits in an object": f'2["x",{{"n":-1{"0" * 400}}}]',
    "integer of 400 digits beside a lone surrogate": f'2["\\ud800",1{"0" * 400}]',
    "integer of 5000 digits": f'2["x",1{"0" * 5000}]',
    "integer of 5000 digits beside a lone surrogate": f'2["\\ud800",1{"0" * 5000}]',
    "raw control character": '2["a\nb"]',
    "single quotes": "2['x']",
    "leading zero": '2["x",01]',
    "lone surrogate in the text itself": '2["\ud800"]',
    "deep nesting": '2["x",' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + "]",
    "deep nesting in objects": '2["x",' + '{"a":' * (MAX_DEPTH + 1) + "1" + "}" * (MAX_DEPTH + 1) + "]",
    "very deep nesting": '2["x",' + "[" * 100_000 + "]" * 100_000 + "]",
    "very deep nesting, never closed": '2["x",' + "[" * 100_000,
    "very deep nesting beside a lone surrogate": '2["\\ud800",' + "[" * 100_000 + "]" * 100_000 + "]",
    "namespace too long": "0/" + "x" * MAX_NAMESPACE_CHARS,
    "ACK without id": '3["x"]',
    "ACK without payload": "31",
    "ACK payload is an object": "31{}",
    "ACK payload is text": '31"x"',
    "BINARY_EVENT without a count": '5["x"]',
    "BINARY_EVENT with a negative count": '5-1-["x"]',
    "BINARY_EVENT with a fractional count": '51.5-["x"]',
    "BINARY_EVENT with too many attachments": '511-["x"]',
    "BINARY_EVENT with millions of attachments": '51000000-["x"]',
    "BINARY_EVENT with a count of 5000 digits": "5" + "9" * 5000 + '-["x"]',
    "placeholder out of range": '51-["x",{"_placeholder":true,"num":1}]',
    "placeholder is negative": '51-["x",{"_placeholder":true,"num":-1}]',
    "placeholder is fractional": '51-["x",{"_placeholder":true,"num":0.5}]',
    "placeholder is text": '51-["x",{"_placeholder":true,"num":"0"}]',
    "placeholder is true": '51-["x",{"_placeholder":true,"num":true}]',
    "placeholder without a number": '51-["x",{"_placeholder":true}]',
    "placeholder deep inside": '51-["x",[[{"a":{"_placeholder":true,"num":9}}]]]',
    "BINARY_EVENT with no attachments": '50-["x"]',
    "BINARY_EVENT with no attachments in many digits": '5000-["x"]',
    "BINARY_ACK with no attachments": "60-1[]",
    "placeholder without attachments": '50-["x",{"_placeholder":true,"num":0}]',
    "placeholder of an ACK out of range": '61-3[{"_placeholder":true,"num":1}]',
    "BINARY_ACK without id": '61-["x"]',
    **{f"reserved name {name}": f'2["{name}"]' for name in sorted(RESERVED_EVENTS)},
    "reserved name, escaped": '2["\\u0063onnect"]',
    "reserved name in a binary event": '51-["connect",{"_placeholder":true,"num":0}]',
}


@pytest.mark.parametrize(("text", "packet"), GOOD, ids=[text[:40] for text, _ in GOOD])
def test_reads_what_clients_send(text: str, packet: Packet) -> None:
    assert parse(text, 10) == (packet, 0)


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_refuses(text: str) -> None:
    with pytest.raises(MalformedPacket):
        parse(text, 10)


def test_nesting_up_to_the_bound_is_fine() -> None:
    depth = MAX_DEPTH - 1
    packet, _ = parse('2["x",' + "[" * depth + "]" * depth + "]", 10)
    assert isinstance(packet, Event)


def test_many_small_arrays_are_not_deep() -> None:
    payload = json.dumps(["x", [[1]] * 10_000])
    assert parse(f"2{payload}", 10)[0] == Event("/", None, payload.encode())


def test_long_digits_inside_text_are_not_a_number() -> None:
    payload = json.dumps(["x", "7" * 5_000])
    assert parse(f"2{payload}", 10)[0] == Event("/", None, payload.encode())


# --- what is written


@pytest.mark.parametrize(
    ("packet", "text"),
    [
        (Connect("/"), "0"),
        (Connect("/chat", b'{"a":1}'), '0/chat,{"a":1}'),
        (Disconnect("/"), "1"),
        (Disconnect("/chat"), "1/chat,"),
        (Event("/", None, b'["x"]'), '2["x"]'),
        (Event("/chat", 7, b'["x"]', [b"1"]), '51-/chat,7["x"]'),
        (Ack("/", 0, b"[]"), "30[]"),
        (Ack("/chat", 7, b"[]", [b"1", b"2"]), "62-/chat,7[]"),
    ],
)
def test_packets_of_clients(packet: Packet, text: str) -> None:
    assert encode(packet) == text


def test_events_and_acks_of_both_sides() -> None:
    assert encode_event("/", b'["x"]', 0, None) == b'2["x"]'
    assert encode_event("/chat", b'["x"]', 0, 0) == b'2/chat,0["x"]'
    assert encode_event("/chat", b'["x"]', 2, 7) == b'52-/chat,7["x"]'
    assert encode_ack("/", b"[]", 0, 12) == b"312[]"
    assert encode_ack("/chat", b"[]", 1, 0) == b"61-/chat,0[]"


def test_server_packets() -> None:
    assert encode_connected("/", "n.s") == b'0{"sid":"n.s"}'
    assert encode_connected("/chat", "n.s") == b'0/chat,{"sid":"n.s"}'
    assert encode_connect_error("/", b'{"message":"no"}') == b'4{"message":"no"}'
    assert encode_connect_error("/random", b'{"message":"no"}') == b'4/random,{"message":"no"}'
    assert encode_disconnect("/") == b"1"
    assert encode_disconnect("/chat") == b"1/chat,"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b'["say","hello"]', "say"),
        (b'["say"]', "say"),
        (b'[ "\\u0073ay" , 1]', "say"),
        ('["grüß"]'.encode(), "grüß"),
        (b"[7,1]", "7"),
        (b'["%s"]' % (b"a" * 150), "a" * 100),
        (b'["%s"]' % (b"a" * 5_000), "a" * 100),
        (b'["say",%s]' % (b'"' + b"\xc3\xbc" * 1_000 + b'"'), "say"),
        (b'["say"' + b"[" * 2_000, "say"),
        (b"[" * 2_000, "[" * 100),
        (rb'["\ud83dx"]', "?x"),
        (rb'["\ud83d\ude00"]', "\N{GRINNING FACE}"),
        (b"", ""),
    ],
)
def test_the_name_of_an_event_for_people(data: bytes, name: str) -> None:
    assert event_name(data) == name
