"""What other libraries write, as they write it; and anything else, which must raise Refused and nothing else."""

import base64
import contextlib
import datetime
import json
import pickle
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app_node.bridge.formats import redis_emitter, redis_manager, redis_streams_emitter
from app_node.bridge.requests import (
    CloseRoom,
    DisconnectClients,
    EmitEvent,
    EnterRooms,
    LeaveRooms,
    Refused,
    Selection,
    ServerEvent,
)

SID = "io1-k3x7q2.Jf8sKa0tQv3mXw2B"

packed = msgspec.msgpack.encode


def refusal(read: Any, *arguments: Any) -> str:
    with pytest.raises(Refused) as caught:
        read(*arguments)
    return caught.value.reason


def manager(**message: Any) -> Any:
    return redis_manager.requests_of(json.dumps(message).encode())


def test_redis_manager() -> None:
    assert manager(method="emit", event="e", data=[1, [2]], room="a", namespace="/n", skip_sid="s", callback=None) == (
        EmitEvent("/n", "e", (1, [2]), ["a"], [], skip_sids=["s"])
    )
    assert manager(method="emit", event="e", data=[None]) == EmitEvent("/", "e", (), None, [])
    assert manager(method="emit", event="e", data={"x": 1}, room=["a", 1]) == (
        EmitEvent("/", "e", ({"x": 1},), ["a", 1], [])
    )
    binary = [[{"_placeholder": True, "num": 0}, 5], base64.b64encode(b"\xff").decode()]
    assert manager(method="emit", event="e", data=binary, binary=True) == EmitEvent("/", "e", (b"\xff", 5), None, [])
    assert manager(method="emit", event="e", data=[1], room="") == EmitEvent("/", "e", (1,), [""], [])
    assert manager(method="emit", event="e", data=[1], room=[]) == EmitEvent("/", "e", (1,), [], []), "for nobody"
    client = Selection("/", [SID], [])
    assert manager(method="enter_room", sid=SID, room="a", namespace="/") == EnterRooms(client, ["a"])
    assert manager(method="leave_room", sid=SID, room="a") == LeaveRooms(client, ["a"])
    assert manager(method="disconnect", sid=SID) == DisconnectClients(client, close=False)
    assert manager(method="close_room", room=7) == CloseRoom("/", 7)
    assert manager(method="callback", sid="s") is None


@pytest.mark.parametrize("method", ["enter_room", "leave_room", "disconnect"])
def test_a_manager_that_names_no_sid_does_not_mean_a_room(method: str) -> None:
    assert refusal(lambda: manager(method=method, sid="lounge", room="a")) == "client_gone"


def test_nan_of_python_is_no_fault() -> None:
    [value] = manager(method="emit", event="e", data=[float("nan")]).arguments
    assert value != value


def test_pickled_messages_are_never_unpickled() -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        message = pickle.dumps({"method": "emit", "event": "e", "data": 1}, protocol)
        assert refusal(redis_manager.requests_of, message) == "pickled"


@pytest.mark.parametrize(
    "message",
    [
        {}, {"method": "emit"}, {"method": "emit", "event": 5}, {"method": "enter_room", "sid": SID},
        {"method": "emit", "event": "e", "room": {"a": 1}}, {"method": "emit", "event": "e", "room": True},
        {"method": "emit", "event": "e", "data": ["x", "?"], "binary": True},
        {"method": "emit", "event": "e", "data": [[{"_placeholder": True, "num": 3}]], "binary": True},
        {"method": ["emit"]}, {"method": "close_room"}, {"method": "disconnect", "sid": 5},
    ],
)  # fmt: skip
def test_malformed_messages_of_a_manager(message: dict[str, Any]) -> None:
    assert refusal(redis_manager.requests_of, json.dumps(message).encode()) == "malformed"


def test_a_callback_is_refused() -> None:
    asked = {"method": "emit", "event": "e", "data": [1], "room": "a", "callback": ["a", "/", 1]}
    assert refusal(redis_manager.requests_of, json.dumps(asked).encode()) == "callback"


def emitter(channel: str, message: Any) -> Any:
    data = packed(message) if channel.startswith("socket.io#") else json.dumps(message).encode()
    return redis_emitter.requests_of("socket.io", channel, data)


def test_redis_emitter() -> None:
    packet = {"type": 2, "data": ["e", 1, b"\xff", {"x": None}], "nsp": "/n"}
    options = {"rooms": ["a", "b"], "flags": {"volatile": True}, "except": ["c"]}
    assert emitter("socket.io#/n#", ["emitter", packet, options]) == (
        EmitEvent("/n", "e", (1, b"\xff", {"x": None}), ["a", "b"], ["c"], volatile=True)
    )
    no_flags: Any
    for no_flags in ([], None, {}, {"volatile": False, "compress": True}):
        assert emitter("socket.io#/n#", ["emitter", packet, {"flags": no_flags}]).volatile is False
    all_of = Selection("/n", ["a"], ["b"])
    of = {"rooms": ["a"], "except": ["b"]}
    assert emitter("socket.io-request#/n#", {"type": 2, "opts": of, "rooms": ["r"]}) == EnterRooms(all_of, ["r"])
    assert emitter("socket.io-request#/n#", {"type": 3, "opts": of, "rooms": ["r"]}) == LeaveRooms(all_of, ["r"])
    assert emitter("socket.io-request#/n#", {"type": 4, "opts": of, "close": True}) == (
        DisconnectClients(all_of, close=True)
    )
    assert emitter("socket.io-request#/#", {"uid": "emitter", "type": 6, "data": ["hello", 1]}) == (
        ServerEvent("/", "hello", (1,))
    )
    everybody = Selection("/", None, [])
    assert emitter("socket.io-request#/#", {"type": 2, "opts": {"rooms": []}, "rooms": ["r"]}) == (
        EnterRooms(everybody, ["r"])
    )
    assert refusal(emitter, "socket.io-request#/#", {"type": 0, "requestId": "x"}) == "query"
    assert refusal(emitter, "socket.io-request#/#", {"type": 6, "requestId": "x", "data": ["hello"]}) == "callback"


def test_a_redis_emitter_whose_parser_is_json() -> None:
    packet = {"type": 2, "data": ["e", 1, {"x": None}], "nsp": "/n"}
    message = json.dumps(["emitter", packet, {"rooms": ["a"], "flags": {}}]).encode()
    expected = EmitEvent("/n", "e", (1, {"x": None}), ["a"], [])
    assert redis_emitter.requests_of("socket.io", "socket.io#/n#", message) == expected


def test_what_only_javascript_knows() -> None:
    undefined, date = msgspec.msgpack.Ext(0, b"\0"), datetime.datetime.fromtimestamp(1_700_000_000.123, datetime.UTC)
    packet = {"type": 2, "data": ["e", undefined, date], "nsp": "/"}
    assert emitter("socket.io#/#", ["emitter", packet, {"rooms": []}]).arguments == (None, "2023-11-14T22:13:20.123Z")


def test_redis_streams_emitter() -> None:
    def entry(kind: int, data: Any, nsp: str = "/") -> Any:
        fields = {b"uid": b"emitter", b"nsp": nsp.encode(), b"type": b"%d" % kind}
        return redis_streams_emitter.requests_of(fields if data is None else fields | {b"data": data})

    options = {"rooms": ["a"], "flags": {}, "except": []}
    packet = {"type": 2, "data": ["e", 1], "nsp": "/n"}
    plain = json.dumps({"packet": packet, "opts": options}).encode()
    assert entry(3, plain, "/n") == EmitEvent("/n", "e", (1,), ["a"], [])
    binary = {"packet": {"type": 2, "data": ["e", b"\xff"], "nsp": "/"}, "opts": options}
    assert entry(3, base64.b64encode(packed(binary))) == EmitEvent("/", "e", (b"\xff",), ["a"], [])
    selected = Selection("/", ["a"], [])
    assert entry(4, json.dumps({"opts": options, "rooms": ["r"]}).encode()) == EnterRooms(selected, ["r"])
    assert entry(5, json.dumps({"opts": options, "rooms": ["r"]}).encode()) == LeaveRooms(selected, ["r"])
    assert entry(6, json.dumps({"opts": options, "close": False}).encode()) == DisconnectClients(selected, False)
    assert entry(9, json.dumps({"packet": ["hi", 1]}).encode()) == ServerEvent("/", "hi", (1,))
    assert refusal(entry, 9, json.dumps({"packet": ["hi"], "requestId": "x"}).encode()) == "callback"
    assert [entry(kind, None) for kind in (1, 2, 13)] == [None] * 3
    assert refusal(entry, 7, b"{}") == "query"
    assert refusal(entry, 3, plain[:-2]) == refusal(entry, 99, b"{}") == refusal(entry, 3, None) == "malformed"


def test_what_servers_with_the_streams_adapter_say_on_a_channel() -> None:
    def said(kind: Any, data: Any) -> Any:
        message = packed({"uid": "5c6e1f0a", "nsp": "/n", "type": kind, "data": data})
        assert redis_streams_emitter.is_in_channel(message)
        return redis_streams_emitter.request_in_channel(message)

    assert said(9, {"packet": ["hi", 1, b"\xff"]}) == ServerEvent("/n", "hi", (1, b"\xff"))
    assert refusal(said, 9, {"packet": ["hi"], "requestId": "x"}) == "callback"
    broadcast = {"packet": {"type": 2, "data": ["e"], "nsp": "/n"}, "opts": {"rooms": [], "except": [], "flags": {}}}
    assert refusal(said, 3, broadcast | {"requestId": "x"}) == "callback"
    assert {refusal(said, kind, {"requestId": "x"}) for kind in (7, 8, 10, 11, 12)} == {"query"}
    assert refusal(said, 99, {}) == refusal(said, "9", {}) == refusal(said, 9, None) == "malformed"


def test_messages_of_the_emitter_are_not_taken_for_those_of_the_adapter() -> None:
    for message in (packed(["emitter", {}, {}]), packed([0] * 20), b'["emitter"]', b'{"type": 2}', b""):
        assert not redis_streams_emitter.is_in_channel(message)
    for size in (1, 20, 70_000):
        assert redis_streams_emitter.is_in_channel(packed({str(number): 0 for number in range(size)}))


DEEP = [b"[" * 100_000, b"\x91" * 100_000, b'{"a":' * 50_000]
BYTES = st.one_of(st.binary(), st.sampled_from(DEEP))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.text(), st.binary()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(("method", "type", "data", "event", "opts", "rooms", "except", "packet", "room", "sid")),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


def survives(read: Any, *arguments: Any) -> None:
    with contextlib.suppress(Refused):
        read(*arguments)


@given(BYTES)
def test_any_bytes_are_refused_at_worst(data: bytes) -> None:
    survives(redis_manager.requests_of, data)
    survives(redis_emitter.requests_of, "socket.io", "socket.io#/#", data)
    survives(redis_emitter.requests_of, "socket.io", "socket.io-request#/#", data)
    for kind in (b"3", b"4", b"9", data):
        survives(redis_streams_emitter.requests_of, {b"type": kind, b"nsp": data, b"data": data})
    survives(redis_streams_emitter.request_in_channel, data)


@given(VALUES, st.sampled_from(["emit", "enter_room", "disconnect", "close_room"]), st.sampled_from([2, 3, 4, 6]))
def test_any_values_are_refused_at_worst(value: Any, method: str, kind: int) -> None:
    binary = packed(value)
    text = json.dumps(value, default=repr).encode()
    survives(redis_manager.requests_of, text)
    survives(redis_manager.requests_of, json.dumps({"method": method, "event": "e", "data": value, "room": value},
                                                   default=repr).encode())  # fmt: skip
    survives(redis_emitter.requests_of, "socket.io", "socket.io#/#", binary)
    survives(redis_emitter.requests_of, "socket.io", "socket.io#/#", packed(["x", {"type": 2, "data": value}]))
    survives(redis_emitter.requests_of, "socket.io", "socket.io-request#/#", text)
    survives(redis_emitter.requests_of, "socket.io", "socket.io-request#/#",
             json.dumps({"type": kind, "rooms": value, "opts": value}, default=repr).encode())  # fmt: skip
    survives(redis_streams_emitter.requests_of, {b"type": b"3", b"data": base64.b64encode(binary)})
    survives(redis_streams_emitter.request_in_channel, binary)
    survives(redis_streams_emitter.request_in_channel, packed({"type": kind, "nsp": "/", "data": value}))
