"""The Engine.IO v4 protocol, seen from outside: all that Socket.IO's own v4 suite covers, and what lies beside it."""

import asyncio
import json
import time
from collections.abc import Awaitable

import httpx
import pytest
from tests.conformance.conftest import CONNECT_TIMEOUT_MS, PING_INTERVAL_MS, PING_TIMEOUT_MS, Target
from tests.conformance.raw import (
    PROMPT_S,
    SEPARATOR,
    Poller,
    Wire,
    polling_url,
    websocket_refusal,
    websocket_url,
)
from websockets.asyncio.client import connect

from sio_cluster.testing.http import http_client

pytestmark = pytest.mark.e2e

OPEN_KEYS = {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
HEARTBEAT_S = (PING_INTERVAL_MS + PING_TIMEOUT_MS) / 1000


class TestHandshake:
    async def test_polling_opens_a_session(self, target: Target) -> None:
        async with http_client() as http:
            response = await http.get(polling_url(target.url))
        assert response.status_code == 200
        assert response.headers["content-type"].replace(" ", "").lower() == "text/plain;charset=utf-8"
        assert response.text[0] == "0"
        opening = json.loads(response.text[1:])
        assert set(opening) == OPEN_KEYS
        assert opening["upgrades"] == ["websocket"]
        assert opening["pingInterval"] == PING_INTERVAL_MS
        assert opening["pingTimeout"] == PING_TIMEOUT_MS
        assert opening["maxPayload"] == 1_000_000
        assert isinstance(opening["sid"], str)

    async def test_websocket_open_packet(self, target: Target) -> None:
        async with connect(websocket_url(target.url), compression=None, proxy=None) as socket:
            message = str(await socket.recv())
        assert message[0] == "0"
        opening = json.loads(message[1:])
        assert set(opening) == OPEN_KEYS
        assert opening["upgrades"] == []
        assert opening["pingInterval"] == PING_INTERVAL_MS
        assert opening["maxPayload"] == 1_000_000

    async def test_path_without_trailing_slash(self, target: Target) -> None:
        if target.is_external:
            pytest.skip("Socket.IO's own server insists on the slash")
        async with http_client() as http:
            response = await http.get(polling_url(target.url).replace("/?", "?"))
        assert response.status_code == 200

    @pytest.mark.parametrize("path", ["/socket.io//", "/socket.io/v2", "/socket.io/v2/"])
    async def test_every_path_below_serves_sessions(self, target: Target, path: str) -> None:
        async with http_client() as http:
            response = await http.get(polling_url(target.url).replace("/socket.io/", path))
        assert (response.status_code, response.text[:1]) == (200, "0")
        async with connect(websocket_url(target.url).replace("/socket.io/", path), proxy=None) as socket:
            assert str(await socket.recv())[0] == "0"

    async def test_sids_differ(self, target: Target) -> None:
        async with Poller.open(target.url) as one, Poller.open(target.url) as other:
            assert one.sid != other.sid

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ("transport=polling", 5),
            ("EIO=abc&transport=polling", 5),
            ("EIO=3&transport=polling", 5),
            ("EIO=4", 0),
            ("EIO=4&transport=abc", 0),
            ("EIO=4&transport=websocket", 3),
            ("EIO=4&transport=polling&sid=unknown", 1),
        ],
    )
    async def test_polling_refuses(self, target: Target, query: str, code: int) -> None:
        async with http_client() as http:
            response = await http.get(f"{target.url}/socket.io/?{query}")
        assert response.status_code == 400
        assert response.json()["code"] == code

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
    async def test_a_handshake_is_a_get(self, target: Target, method: str) -> None:
        async with http_client() as http:
            response = await http.request(method, polling_url(target.url))
        assert response.status_code == 400
        assert response.json()["code"] == 2

    @pytest.mark.parametrize(
        "query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"]
    )
    async def test_websocket_refuses(self, target: Target, query: str) -> None:
        status = await websocket_refusal(f"{target.url.replace('http', 'ws', 1)}/socket.io/?{query}")
        assert status == 400 or (target.is_external and status is None)


class TestHeartbeat:
    async def test_polling_ping_pong(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            for _ in range(3):
                response = await poller.poll()
                assert (response.status_code, response.text) == (200, "2")
                await poller.send("3")

    async def test_websocket_ping_pong(self, target: Target) -> None:
        began = time.monotonic()
        async with Wire.open(target.url, answers_pings=False) as wire:
            for _ in range(3):
                assert await wire.receive() == "2"
                assert time.monotonic() - began > 0.2
                began = time.monotonic()
                await wire.send("3")

    async def test_no_pong_ends_the_session(self, target: Target) -> None:
        await asyncio.gather(self.polling_without_pong(target), self.websocket_without_pong(target))

    async def polling_without_pong(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            began = time.monotonic()
            assert (await poller.poll()).text == "2"
            response = await poller.poll()
            while response.status_code == 200:
                response = await poller.poll()
            assert response.status_code == 400
            assert HEARTBEAT_S - 0.1 < time.monotonic() - began < HEARTBEAT_S + PROMPT_S

    async def websocket_without_pong(self, target: Target) -> None:
        async with Wire.open(target.url, answers_pings=False) as wire:
            began = time.monotonic()
            await wire.closes(HEARTBEAT_S + PROMPT_S)
            assert time.monotonic() - began > HEARTBEAT_S - 0.1

    async def test_answering_keeps_the_connection(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            while wire.pings * PING_INTERVAL_MS < PING_INTERVAL_MS + PING_TIMEOUT_MS + 300:
                with pytest.raises(AssertionError, match="nothing came"):
                    await wire.receive(PING_INTERVAL_MS / 1000)
            await wire.works()


class TestPolling:
    async def test_one_packet(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send('42["message","hello"]')
            assert await poller.receive() == '42["message-back","hello"]'

    async def test_several_packets_in_order(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send(*(f'42["message",{n}]' for n in range(3)))
            assert await poller.receive_many(3) == [f'42["message-back",{n}]' for n in range(3)]

    async def test_binary_travels_as_base64(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send('451-["message",{"_placeholder":true,"num":0}]', "bAQIDBA==")
            assert await poller.receive() == '451-["message-back",{"_placeholder":true,"num":0}]'
            assert await poller.receive() == "bAQIDBA=="

    async def test_unicode(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send('42["message","Ä ß て 🚀"]')
            name, text = json.loads((await poller.receive())[2:])
            assert (name, text) == ("message-back", "Ä ß て 🚀")

    async def test_burst_of_500_events_in_one_post(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            await poller.send(*(f'42["message",{n}]' for n in range(500)))
            assert await poller.receive_many(500) == [f'42["message-back",{n}]' for n in range(500)]

    async def test_a_waiting_poll_is_answered_at_once(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            began = time.monotonic()
            waiting = asyncio.create_task(poller.receive())
            await poller.send('42["message","now"]')
            assert await waiting == '42["message-back","now"]'
            assert time.monotonic() - began < 1

    async def test_invalid_packet_ends_the_session(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            response = await poller.post("abc")
            assert response.status_code == 400 or (target.is_external and response.status_code == 200)
            await poller.is_gone()

    async def test_two_polls_at_once_end_the_session(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            first = asyncio.create_task(poller.poll())
            await asyncio.sleep(0.1)  # so that the first is there before the second: nothing tells when it has arrived
            second = await poller.poll()
            assert second.status_code in (400, 500)
            answer = await first
            assert (answer.status_code, answer.text) == (200, "1")
            await poller.is_gone()

    async def test_a_cancelled_poll_ends_the_session(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, http_client() as other:
            while answer := await answer_within(0.2, other.get(poller.address)):  # long enough for it to arrive
                assert answer.text == "2"
                await poller.send("3")
            async with asyncio.timeout(PROMPT_S):
                while (response := await poller.poll()).status_code == 200:
                    pass
            assert response.status_code in (400, 500)
            await poller.is_gone()

    async def test_close_packet(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            waiting = asyncio.create_task(poller.poll())
            await asyncio.sleep(0.1)  # so that the poll waits: nothing tells when it has arrived
            await poller.send("1")
            response = await waiting
            assert (response.status_code, response.text) == (200, "6")
            await poller.is_gone()

    async def test_transport_must_fit_the_session(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            response = await poller.http.get(f"{target.url}/socket.io/?EIO=4&transport=websocket&sid={poller.sid}")
            assert response.status_code == 400


class TestWebSocket:
    async def test_text(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('42["message","hello"]')
            assert await wire.receive() == '42["message-back","hello"]'

    async def test_binary(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send('451-["message",{"_placeholder":true,"num":0}]', b"\x01\x02\x03")
            assert await wire.receive_many(2) == ['451-["message-back",{"_placeholder":true,"num":0}]', b"\x01\x02\x03"]

    async def test_invalid_packet_closes(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.send("abc")
            await wire.closes()

    async def test_close_packet(self, target: Target) -> None:
        if target.is_external:
            pytest.skip("Socket.IO's own server ignores it: in its suite a ping timeout passes for the close")
        async with Wire.open(target.url) as wire:
            await wire.send("1")
            await wire.closes()

    async def test_many_in_order(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send(*(f'42["message",{n}]' for n in range(500)))
            assert await wire.receive_many(500, 5) == [f'42["message-back",{n}]' for n in range(500)]

    async def test_large_messages(self, target: Target) -> None:
        text = "x" * 900_000
        async with Wire.open(target.url) as wire:
            await wire.join()
            await wire.send(f'42["message","{text}"]')
            assert await wire.receive(5) == f'42["message-back","{text}"]'


class TestUpgrade:
    async def test_upgrade(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid) as wire:
            await poller.join()
            await wire.send("2probe")
            assert await wire.receive() == "3probe"
            while (response := await poller.poll()).text == "2":
                await poller.send("3")
            assert (response.status_code, response.text) == (200, "6")
            await wire.send("5", '42["message","hello"]')
            assert await wire.receive() == '42["message-back","hello"]'

    async def test_a_waiting_poll_is_released(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid) as wire:
            await poller.join()
            waiting = asyncio.create_task(poller.poll())
            await asyncio.sleep(0.05)  # so that the poll waits: nothing tells when it has arrived
            await wire.send("2probe")
            assert await wire.receive() == "3probe"
            assert (await waiting).text in ("6", "2")

    async def test_messages_meanwhile_follow_in_order(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid) as wire:
            await poller.join()
            await wire.send("2probe")
            assert await wire.receive() == "3probe"
            await poller.send(*(f'42["message",{n}]' for n in range(5)))
            await wire.send("5", '42["message",5]')
            assert await wire.receive_many(6) == [f'42["message-back",{n}]' for n in range(6)]

    async def test_poll_after_upgrade_is_refused(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid) as wire:
            await poller.join()
            await wire.send("2probe")
            await wire.receive()
            await wire.send("5")
            await wire.works()
            assert (await poller.poll()).status_code == 400
            await wire.works()

    async def test_second_upgrade_is_refused(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, Wire.open(target.url, sid=poller.sid) as wire:
            await poller.join()
            await wire.send("2probe")
            await wire.receive()
            await wire.send("5")
            await wire.works()
            assert await websocket_refusal(websocket_url(target.url, sid=poller.sid)) in (400, None)
            await wire.works()

    async def test_a_failed_probe_leaves_polling_alone(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            await poller.join()
            async with Wire.open(target.url, sid=poller.sid) as wire:
                await wire.send("2probe")
                assert await wire.receive() == "3probe"
                await wire.socket.close()
            await poller.send('42["message","still polling"]')
            packets = [await poller.receive()]
            while packets[-1] == "6":
                packets.append(await poller.receive())
            assert packets[-1] == '42["message-back","still polling"]'

    async def test_upgrade_to_an_unknown_sid(self, target: Target) -> None:
        status = await websocket_refusal(websocket_url(target.url, sid="io1-abcdef.AAAAAAAAAAAAAAAA"))
        assert status == 400 or (target.is_external and status is None)

    async def test_heartbeat_goes_on_after_the_upgrade(self, target: Target) -> None:
        async with (
            Poller.open(target.url) as poller,
            Wire.open(target.url, sid=poller.sid, answers_pings=False) as wire,
        ):
            await poller.join()
            await wire.send("2probe")
            assert await wire.receive() == "3probe"
            await wire.send("5")
            for _ in range(3):
                assert await wire.receive() == "2"
                await wire.send("3")


class TestNoNamespace:
    async def test_no_connect_ends_the_session(self, target: Target) -> None:
        await asyncio.gather(self.websocket_without_connect(target), self.polling_without_connect(target))

    async def websocket_without_connect(self, target: Target) -> None:
        async with Wire.open(target.url) as wire:
            began = time.monotonic()
            await wire.closes(CONNECT_TIMEOUT_MS / 1000 + 1)
            assert time.monotonic() - began > CONNECT_TIMEOUT_MS / 1000 - 0.2
            assert wire.pings > 3

    async def polling_without_connect(self, target: Target) -> None:
        async with Poller.open(target.url) as poller:
            began = time.monotonic()
            while (response := await poller.poll()).status_code == 200:
                if response.text == "2":
                    await poller.post("3")
                else:
                    assert set(response.text.split(SEPARATOR)) <= {"1", "2", "6"}
            assert CONNECT_TIMEOUT_MS / 1000 - 0.2 < time.monotonic() - began < CONNECT_TIMEOUT_MS / 1000 + 1


async def answer_within(seconds: float, request: Awaitable[httpx.Response]) -> httpx.Response | None:
    """None where it is cancelled because no answer came in that time."""
    try:
        return await asyncio.wait_for(request, seconds)
    except TimeoutError:
        return None
