"""JSON and binary payloads: against python-socketio's own packets, and where they must differ."""

import enum
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from socketio.base_server import BaseServer
from socketio.packet import ACK, EVENT, Packet

from app_node.payloads import arguments, decode, encode, encode_any, encode_event_of
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.socketio import RESERVED_EVENTS, encode_ack, encode_event

MANY = 1_000


class Colour(enum.IntEnum):
    RED = 1


keys = st.text().filter(lambda key: key != "_placeholder")  # refused beside binary data, see below
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
values = st.recursive(
    plain | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


def reference(kind: int, data: list[Any], namespace: str, ack_id: int | None) -> tuple[Any, list[bytes]]:
    encoded = Packet(kind, data=data, namespace=namespace, id=ack_id).encode()
    text, *attachments = encoded if isinstance(encoded, list) else [encoded]
    return text, attachments


@given(st.lists(values, min_size=1, max_size=3), st.sampled_from(["/", "/chat"]), st.none() | st.integers(0, 1 << 52))
def test_same_packets_as_python_socketio(data: list[Any], namespace: str, ack_id: int | None) -> None:
    payload = encode(data, None, MANY)
    text, attachments = reference(EVENT, data, namespace, ack_id)
    packet = encode_event(namespace, payload.text, len(payload.attachments), ack_id).decode()
    split = packet.index("[")
    assert packet[:split] == text[: text.index("[")]
    assert json.loads(packet[split:]) == json.loads(text[text.index("[") :])
    assert payload.attachments == attachments
    if ack_id is not None:
        text, _ = reference(ACK, data, namespace, ack_id)
        packet = encode_ack(namespace, payload.text, len(payload.attachments), ack_id).decode()
        assert packet.startswith(text[: text.index("[")])


def test_what_python_socketio_reserves_is_reserved() -> None:
    assert RESERVED_EVENTS.issuperset(BaseServer.reserved_events)


@given(st.lists(values, max_size=4))
def test_round_trip(data: list[Any]) -> None:
    payload = encode(data, None, MANY)
    assert decode(payload.text, payload.attachments) == data


def test_more_attachments_than_clients_take_are_refused() -> None:
    assert len(encode([[b"x"] * 10]).attachments) == 10
    with pytest.raises(ValueError, match="11 binary values in one packet: clients take 10"):
        encode([{"a": [b"x"] * 10, "b": b"y"}])
    assert len(encode([[b"x"] * 11], None, 11).attachments) == 11


@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
def test_names_at_which_clients_disconnect_are_refused(name: str) -> None:
    """socket.io-parser closes the connection: `isDataValid`."""
    with pytest.raises(ValueError, match=f"'{name}' is a reserved event name"):
        encode_event_of(name, None)


@pytest.mark.parametrize("name", [None, True, 1.5, ["a"], {"a": 1}, b"a"])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(TypeError, match="the name of an event"):
        encode_event_of(name, None)


def test_names_of_events() -> None:
    assert encode_event_of("message", (1, 2)).text == b'["message",1,2]'
    assert encode_event_of(7, None).text == b"[7]"


def test_a_refusal_carries_no_binary_data() -> None:
    assert encode_any({"message": "no"}) == b'{"message":"no"}'
    with pytest.raises(TypeError, match="binary"):
        encode_any({"message": "no", "data": b"x"})


@given(st.lists(st.floats() | st.lists(st.floats()) | st.dictionaries(st.text(), st.floats())))
def test_what_goes_out_is_json_for_every_client(data: list[Any]) -> None:
    msgspec.json.decode(encode(data).text)  # refuses NaN and Infinity
    msgspec.json.decode(encode([*data, (1,), b""]).text)  # the standard library's way


def test_nan_becomes_null() -> None:
    nan, infinite = float("nan"), float("inf")
    assert encode([nan, [infinite], {"a": -infinite}]).text == b'[null,[null],{"a":null}]'
    assert encode([(nan, {"b": (infinite, b"x")})]).text == b'[[null,{"b":[null,{"_placeholder":true,"num":0}]}]]'
    assert encode([{nan: 1}]).text == b'[{"null":1}]'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, (2,)), b"[[1,[2]]]"),
        ({1: 2, None: 3}, b'[{"1":2,"null":3}]'),
        (Colour.RED, b"[1]"),
        (2**80, b"[1208925819614629174706176]"),
        ("\ud83d", b'["\\ud83d"]'),
        ("\u00e9", '["\u00e9"]'.encode()),
    ],
)
def test_forms(value: Any, text: bytes) -> None:
    assert encode([value]).text == text


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, {(1,): 2}, [object()], {"a": [object()]}])
def test_unknown_types_raise(value: Any) -> None:
    import datetime

    for wrong in (value, datetime.datetime.now(datetime.UTC)):
        with pytest.raises(TypeError):
            encode([wrong])


def test_what_looks_like_a_placeholder_does_not_go_out_beside_binary_data() -> None:
    """A client may send one as plain data. With an attachment it is "illegal attachments" for each who receives it."""
    forged = {"_placeholder": True, "num": 7}
    assert encode([forged]).text == b'[{"_placeholder":true,"num":7}]'
    assert encode(['"_placeholder":true', b"x"]).attachments == [b"x"]
    assert encode([{"_placeholder": False}, b"x"]).attachments == [b"x"]
    for json_module in (None, json):
        with pytest.raises(ValueError, match="_placeholder"):
            encode(["image", {"name": forged, "data": b"x"}], json_module)


def nested(levels: int) -> list[Any]:
    value: list[Any] = [b"x", float("nan")]
    for _ in range(levels):
        value = [value]
    return value


LOOP: list[Any] = []
LOOP.append(LOOP)
LOOP_IN_DICT: dict[str, Any] = {}
LOOP_IN_DICT["me"] = [LOOP_IN_DICT]


@pytest.mark.parametrize("json_module", [None, json])
@pytest.mark.parametrize(
    "values",
    [LOOP, [(LOOP,)], [b"x", LOOP], [b"x", LOOP_IN_DICT], [float("nan"), b"x", LOOP], nested(200_000)],
    ids=range(6),
)
def test_what_contains_itself_or_is_very_deep_raises(values: list[Any], json_module: Any) -> None:
    """Compiled too (`make test-compiled`), where a function that calls itself without end would end the process."""
    with pytest.raises(RecursionError):
        encode(values, json_module)


@pytest.mark.parametrize("data", [b"", b"{}", b"1", b"[1", b"[NaN]", b"[1e999]", b'["\xff"]', b"[" * 100_000])
def test_malformed(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        decode(data)


@pytest.mark.parametrize("number", ["1", "-1", "0.5", '"0"', "true", "null"])
def test_placeholders_out_of_range(number: str) -> None:
    with pytest.raises(MalformedPacket):
        decode(b'["x",{"_placeholder":true,"num":%s}]' % number.encode(), [b"only one"])


def test_a_plain_object_may_look_like_a_placeholder() -> None:
    assert decode(b'[{"_placeholder":true,"num":0}]') == [{"_placeholder": True, "num": 0}]
    assert decode(b'[{"_placeholder":false,"num":0}]', [b"x"]) == [{"_placeholder": False, "num": 0}]


def test_lone_surrogates_come_in() -> None:
    assert decode(b'["\\ud800"]') == ["\ud800"]


def test_arguments() -> None:
    assert [arguments(data) for data in (None, 1, (), (1, None), [1, 2])] == [[], [1], [], [1, None], [[1, 2]]]


class Spaced:
    """A JSON module that writes in a way of its own."""

    @staticmethod
    def dumps(value: Any, **keywords: Any) -> str:
        return json.dumps(value, separators=(", ", ": "))

    loads = staticmethod(json.loads)


class Broken(Spaced):
    @staticmethod
    def dumps(value: Any, **keywords: Any) -> str:
        return "[NaN]"


def test_json_module_of_the_application() -> None:
    module: Any = Spaced
    payload = encode(["a", b"b"], module)
    assert payload.text == b'["a", {"_placeholder": true, "num": 0}]'
    assert decode(payload.text, payload.attachments, module) == ["a", b"b"]
    broken: Any = Broken
    with pytest.raises(ValueError, match="not JSON"):
        encode(["x"], broken)
