"""The Socket.IO v5 protocol, seen from outside: all that Socket.IO's own v5 suite covers, and what lies beside it."""

import asyncio
import json
from typing import Any

import pytest
from tests.conformance.conftest import Target
from tests.conformance.raw import Poller, Wire, joined_wires

pytestmark = pytest.mark.e2e

TWO_PLACEHOLDERS = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'


def prefix_of(namespace: str) -> str:
    return "" if namespace == "/" else namespace + ","


class TestConnect:
    @pytest.mark.parametrize("namespace", ["/", "/custom"])
    @pytest.mark.parametrize("auth", [None, {}, {"token": "123"}, {"deep": [{"er": None}], "ü": "て"}])
    async def test_connect(self, target: Target, namespace: str, auth: Any) -> None:
        prefix = prefix_of(namespace)
        async with Wire.open(target.url) as wire:
            await wire.send(f"40{prefix}{'' if auth is None else json.dumps(auth)}")
            answer = str(await wire.receive())
            assert answer.startswith(f"40{prefix}")
            assert set(json.loads(answer[2 + len(prefix) :])) == {"sid"}
            event = str(await wire.receive())
            assert event.startswith(f"42{prefix}[")
            assert json.loads(event[2 + len(prefix) :]) == ["auth", auth or {}]

    @pytest.mark.parametrize("auth", ['"token"', '["a",1]', "15", "-1.5", "true"])
    async def test_auth_of_any_kind(self, target: Target, auth: str) -> None:
        """As python-socketio takes it. Socket.IO's own server takes objects only."""
        if target.is_external:
            pytest.skip("Socket.IO's own server closes the connection")
        async with Wire.open(target.url) as wire:
            await wire.send(f"40{auth}")
            assert str(await wire.receive()).startswith("40")
            assert await wire.receive() == f'42["auth",{auth}]'

    async def test_auth_event_is_compact_json(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send('40{"token":"123"}')
            await wire.receive()
            assert await wire.receive() == '42["auth",{"token":"123"}]'

    async def test_over_polling(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            sid = await poller.join()
            assert sid != poller.sid
            await poller.works()

    @pytest.mark.parametrize("connect", ["40/custom", "40/custom,"])
    async def test_comma_after_the_namespace_is_optional(self, target: Target, connect: str) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send(connect)
            assert str(await wire.receive()).startswith("40/custom,{")

    async def test_each_namespace_has_a_sid_of_its_own(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            sids = {wire.sid, await wire.join("/"), await wire.join("/custom")}
            assert len(sids) == 3

    @pytest.mark.parametrize("namespace", ["/random", "/customs", "/custom/"])
    async def test_unknown_namespace(self, target: Target, namespace: str) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send(f"40{namespace}")
            assert await wire.receive() == f'44{namespace},{{"message":"Invalid namespace"}}'
            await wire.join()  # the connection lives on
            await wire.works()

    async def test_refusal_carries_message_and_data(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send("40/refusing")
            answer = str(await wire.receive())
            assert answer.startswith("44/refusing,")
            assert json.loads(answer[12:]) == {"message": "no entry", "data": {"code": 7}}

    async def test_refusal_by_false(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send("40/false")
            answer = str(await wire.receive())
            assert answer.startswith("44/false,")
            assert json.loads(answer[9:])["message"] == "Connection rejected by server"

    async def test_a_refused_client_may_ask_again(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            for _ in range(2):
                await wire.send("40/refusing")
                assert str(await wire.receive()).startswith("44/refusing,")

    async def test_a_slow_connect_delays_no_other_namespace(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send('40/slow,{"delay":1.5}')
            await wire.join("/")
            await wire.works()
            await wire.join("/custom")
            answer = str(await wire.receive(5))
            assert answer.startswith("40/slow,{")
            await wire.send('42/slow,1["echo",true]')
            assert await wire.receive() == "43/slow,1[true]"


class TestDisconnect:
    async def test_from_the_main_namespace(self, target: Target) -> None:
        async with Wire.open(target.url, answers_pings=False) as wire:
            await wire.join()
            await wire.send("41")
            for _ in range(2):
                assert await wire.receive() == "2"
                await wire.send("3")

    async def test_from_a_custom_namespace(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join("/")
            await wire.join("/custom")
            await wire.send("41/custom", '42["message","to main"]')
            assert await wire.receive() == '42["message-back","to main"]'

    async def test_from_the_main_namespace_keeps_the_others(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join("/")
            await wire.join("/custom")
            await wire.send("41", '42/custom,["message",1]')
            assert await wire.receive() == '42/custom,["message-back",1]'

    async def test_one_may_come_back(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            first = await wire.join()
            await wire.send("41")
            second = await wire.join()
            assert first != second
            await wire.works()

    async def test_by_the_server(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join("/")
            await wire.join("/custom")
            await wire.send('42/custom,["leave_namespace"]')
            assert await wire.receive() == "41/custom,"
            await wire.works()

    async def test_of_the_whole_connection_by_the_server(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join("/")
            await wire.join("/custom")
            await wire.send('42/custom,["hang_up"]')
            await wire.closes()

    async def test_of_the_whole_polling_connection_by_the_server(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send('42["hang_up"]')
            await poller.is_gone()


class TestEvents:
    @pytest.mark.parametrize("namespace", ["/", "/custom"])
    @pytest.mark.parametrize("args", ["", ',1,"2",{"3":[true]}', ",null", ",[]", ",[[[]]]", ',""', ',0.1,-5,"\\u00e9"'])
    async def test_plain(self, target: Target, namespace: str, args: str) -> None:
        prefix = prefix_of(namespace)
        async with Wire.open(target.url) as wire:
            await wire.join(namespace)
            await wire.send(f'42{prefix}["message"{args}]')
            answer = str(await wire.receive())
            assert answer.startswith(f"42{prefix}")
            sent = json.loads(f'["message-back"{args}]')
            assert json.loads(answer[2 + len(prefix) :]) == sent

    @pytest.mark.parametrize("namespace", ["/", "/custom"])
    async def test_with_attachments(self, target: Target, namespace: str) -> None:
        prefix = prefix_of(namespace)
        async with Wire.open(target.url) as wire:
            await wire.join(namespace)
            await wire.send(f'452-{prefix}["message",{TWO_PLACEHOLDERS}]', b"\x01\x02\x03", b"\x04\x05\x06")
            assert await wire.receive_many(3) == [
                f'452-{prefix}["message-back",{TWO_PLACEHOLDERS}]',
                b"\x01\x02\x03",
                b"\x04\x05\x06",
            ]

    async def test_attachments_deep_in_the_data(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            data = '{"a":[{"_placeholder":true,"num":1}],"b":{"_placeholder":true,"num":0}}'
            await wire.send(f'452-7["echo",{data}]', b"zero", b"")
            answer = [await wire.receive() for _ in range(3)]
            [value] = json.loads(str(answer[0])[5:])
            attachments = answer[1:]
            assert str(answer[0]).startswith("462-7[")
            assert attachments[value["a"][0]["num"]] == b""
            assert attachments[value["b"]["num"]] == b"zero"

    async def test_ten_attachments(self, target: Target) -> None:
        placeholders = ",".join(f'{{"_placeholder":true,"num":{n}}}' for n in range(10))
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send(f'4510-["message",{placeholders}]', *(bytes([n]) for n in range(10)))
            answer = await wire.receive_many(11)
            assert answer == [f'4510-["message-back",{placeholders}]', *(bytes([n]) for n in range(10))]

    @pytest.mark.parametrize("namespace", ["/", "/custom"])
    @pytest.mark.parametrize("ack_id", [0, 7, 456, 2**31, 2**53 - 1])
    async def test_with_ack(self, target: Target, namespace: str, ack_id: int) -> None:
        prefix = prefix_of(namespace)
        async with Wire.open(target.url) as wire:
            await wire.join(namespace)
            await wire.send(f'42{prefix}{ack_id}["message-with-ack",1,"2",{{"3":[false]}}]')
            assert await wire.receive() == f'43{prefix}{ack_id}[1,"2",{{"3":[false]}}]'

    async def test_with_attachments_and_ack(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send(f'452-789["message-with-ack",{TWO_PLACEHOLDERS}]', b"\x01\x02\x03", b"\x04\x05\x06")
            assert await wire.receive_many(3) == [f"462-789[{TWO_PLACEHOLDERS}]", b"\x01\x02\x03", b"\x04\x05\x06"]

    @pytest.mark.parametrize("args", ["", ",null", ",1", ",1,2", ",null,null", ",[1,2]"])
    async def test_acks_keep_their_arguments(self, target: Target, args: str) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send(f'421["echo"{args}]')
            assert await wire.receive() == f"431[{args[1:]}]"

    @pytest.mark.parametrize("answer", ["", "null", "1", "1,2", "null,null", "[1,2]", '"\\u00e9"'])
    async def test_acks_of_the_client_keep_their_arguments(self, target: Target, answer: str) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('42["ask",1,null]')
            question = str(await wire.receive())
            ack_id = question[2 : question.index("[")]
            assert question == f'42{ack_id}["question",1,null]'
            await wire.send(f"43{ack_id}[{answer}]")
            name, count, arguments = json.loads(str(await wire.receive())[2:])
            assert (name, arguments) == ("answered", json.loads(f"[{answer}]"))
            assert count == len(arguments)

    async def test_binary_ack_of_the_client(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('42["ask"]')
            question = str(await wire.receive())
            ack_id = question[2 : question.index("[")]
            await wire.send(f'461-{ack_id}[{{"_placeholder":true,"num":0}}]', b"answer")
            assert await wire.receive() == '451-["answered",1,[{"_placeholder":true,"num":0}]]'
            assert await wire.receive() == b"answer"

    async def test_unknown_event_gets_no_ack(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('40/slow,{"delay":0}')
            assert str(await wire.receive()).startswith("40/slow,{")
            await wire.send('42/slow,1["nobody serves this"]', '42/slow,2["echo"]')
            assert await wire.receive() == "43/slow,2[]"
            await wire.works()

    async def test_failing_handler_gets_no_ack_and_harms_nobody(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('421["fail"]')
            await wire.works()

    async def test_events_of_two_clients_are_independent(self, target: Target) -> None:
        async with joined_wires(target.url, 2) as (one, other):
            await one.send('421["wait",1,"slow"]')
            await other.works()
            await one.works()
            assert await one.receive(5) == '431["slow"]'

    async def test_catch_all(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send("40/any")
            assert str(await wire.receive()).startswith("40/any,{")
            await wire.send('42/any,5["whatever",1]')
            assert await wire.receive() == '43/any,5["whatever",1]'

    async def test_numbers_beyond_json_never_leave(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('42["numbers"]')
            assert await wire.receive() == '42["numbers",[null,null,1152921504606846976,1.5]]' or target.is_external

    async def test_lone_surrogate_of_javascript(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send(r'421["echo","a\ud800b"]')
            assert json.loads(str(await wire.receive())[3:]) == ["a\ud800b"]


class TestOrder:
    async def test_burst_down(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('42["burst",500]')
            assert await wire.receive_many(500, 5) == [f'42["burst",{n}]' for n in range(500)]

    async def test_acks_of_many_clients_in_order(self, target: Target) -> None:
        async with joined_wires(target.url, 10) as wires:

            async def converse(wire: Wire) -> None:
                await wire.send(*(f'42{n}["echo",{n}]' for n in range(50)))
                assert await wire.receive_many(50, 5) == [f"43{n}[{n}]" for n in range(50)]

            await asyncio.gather(*(converse(wire) for wire in wires))

    async def test_session_remembers(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('421["remember",{"a":[1]}]')
            assert await wire.receive() == "431[]"
            await wire.send('422["recall"]')
            assert await wire.receive() == '432[{"a":[1]}]'
