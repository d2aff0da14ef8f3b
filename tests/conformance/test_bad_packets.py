"""Engine.IO and Socket.IO packets that a client must not send, and what becomes of them.

| input | outcome |
|---|---|
| malformed or unknown Engine.IO and Socket.IO packets, empty frames, invalid JSON, wrong payload types | close |
| NaN, Infinity, numbers beyond JSON, deep nesting, huge ids | close |
| an event before CONNECT, or to a namespace not joined; a second CONNECT; a reserved event name | close |
| attachments missing, too many, out of range, negative, fractional, text in their place | close |
| an ack that nobody asked for | ignored |
| no CONNECT in time | close (test_engineio.py) |
| thousands of namespaces | CONNECT_ERROR each |

After each of them the clients of the same io-node are served as before, by the same process (`bystanders`).
What is `stricter` Socket.IO's own server lets through: it would reach other people's clients or handlers.
"""

import asyncio
import base64
from dataclasses import dataclass

import pytest
from tests.conformance.conftest import Target
from tests.conformance.raw import SEPARATOR, Poller, Wire

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
    close("no attachments announced", '450-["message",1]'),
    close("no attachments announced in an ack", "460-1[]"),
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
    async def test_closes_a_websocket(self, target: Target, case: Case) -> None:
        skip_if_lenient(case, target)
        async with Wire.open(target.url) as wire:
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

    @pytest.mark.parametrize("bad", ["47", "42{}", '42/custom,["message"]'])
    async def test_a_polling_client_still_gets_what_was_queued(self, target: Target, bad: str) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send('42998["echo","before"]')
            await asyncio.sleep(0.5)  # so that the answer is queued: nothing tells when it is
            await poller.send(bad)
            packets: list[str] = []
            while "1" not in packets:
                response = await poller.poll()
                assert response.status_code == 200
                packets += response.text.split(SEPARATOR)
            assert '43998["before"]' in packets
            await poller.is_gone()

    @pytest.mark.parametrize(("name", "messages"), IGNORED, ids=[name for name, _ in IGNORED])
    async def test_ignored(self, target: Target, name: str, messages: tuple[str, ...]) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send(*messages)
            await wire.send('42998["echo"]')
            while (answer := await wire.receive()) != "43998[]":
                assert str(answer).startswith(('42["message-back"', "42"))

    async def test_nobody_runs_the_connect_handler_again(self, target: Target) -> None:
        """A client cannot run the connect handler by an event of that name. (python-socketio would run it with the
        sender's data.)"""
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('42["connect",{},{"admin":true}]')
            await wire.closes()
            assert wire.messages.empty() or wire.messages.get_nowait() == "41"

    async def test_a_thousand_namespaces(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
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


def as_polling(message: str | bytes) -> str:
    return message if isinstance(message, str) else "b" + base64.b64encode(message).decode()
