"""From polling to WebSocket over real sockets."""

import asyncio

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons
from sio_cluster.testing.http import http_client

from .serving import open_polling, serve, soon, waiting_poll


async def test_upgrade() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        poll = asyncio.create_task(client.get(node.url(sid)))
        await waiting_poll(node, sid)
        async with connect(node.ws_url(sid)) as socket:
            await socket.send("2probe")
            assert await soon(socket.recv()) == "3probe"
            assert (await soon(poll)).text == "6"
            recorder.connection.send(Outbound(b"one"))
            recorder.connection.send(Outbound(b"two"))
            await socket.send("5")
            assert await soon(recorder.upgraded.get()) == "websocket"
            assert [await soon(socket.recv()), await soon(socket.recv())] == ["4one", "4two"]
            await socket.send("4hello")
            assert await soon(socket.recv()) == "4hello"
            assert (await client.get(node.url(sid))).json()["code"] == 3
            assert (await client.post(node.url(sid), content="4a")).json()["code"] == 3
            assert recorder.connection.transport == "websocket"
            assert node.engine.counters.upgraded == 1
        assert await soon(recorder.closed.get()) == reasons.TRANSPORT_CLOSE


async def test_a_poll_that_comes_after_the_probe_is_released() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        async with connect(node.ws_url(sid)) as socket:
            await socket.send("2probe")
            assert await soon(socket.recv()) == "3probe"
            assert (await soon(client.get(node.url(sid)))).text == "6"
            await socket.send("5")
            await socket.send("4hello")
            assert await soon(socket.recv()) == "4hello"


@pytest.mark.parametrize("reason", [reasons.SERVER_DISCONNECT, reasons.NODE_DRAINED])
async def test_what_is_queued_leaves_by_the_websocket_where_the_session_closes_meanwhile(reason: str) -> None:
    """The JavaScript client does not poll between `3probe` and `5`, nor after its probe has failed."""
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        async with connect(node.ws_url(sid)) as socket:
            await socket.send("2probe")
            assert await soon(socket.recv()) == "3probe"
            for data in (b"one", b"two"):
                recorder.connection.send(Outbound(data))
            recorder.connection.close(reason)
            await socket.send("5")
            assert [await soon(socket.recv()), await soon(socket.recv())] == ["4one", "4two"]
            with pytest.raises(ConnectionClosed):
                await soon(socket.recv())
        assert await soon(recorder.closed.get()) == reason


async def test_a_client_that_polls_on_gets_what_is_queued_where_the_session_closes_meanwhile() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        async with connect(node.ws_url(sid)) as socket:
            await socket.send("2probe")
            assert await soon(socket.recv()) == "3probe"
            recorder.connection.send(Outbound(b"one"))
            recorder.connection.close(reasons.SERVER_DISCONNECT)
            assert (await soon(client.get(node.url(sid)))).text == "4one"
            assert (await soon(client.get(node.url(sid)))).text == "1"
            with pytest.raises(ConnectionClosed):
                await soon(socket.recv())
        assert await soon(recorder.closed.get()) == reasons.SERVER_DISCONNECT


async def test_messages_wait_for_no_silent_probe() -> None:
    async with serve(upgrade_timeout_ms=400) as node, http_client() as client:
        sid = await open_polling(node, client)
        recorder = await node.recorder()
        async with connect(node.ws_url(sid)) as socket:
            await socket.send("2probe")
            await soon(socket.recv())
            got: list[str] = []
            polls = 0
            recorder.connection.send(Outbound(b"0"))
            while len(got) < 3:
                text = (await soon(client.get(node.url(sid)))).text
                polls += 1
                if text != "6":
                    got.append(text)
                    recorder.connection.send(Outbound(b"%d" % len(got)))
            assert got == ["40", "41", "42"]
            with pytest.raises(ConnectionClosed):
                await soon(socket.recv())
        assert recorder.closed.empty()
        assert (await client.get(node.url(sid))).text == "43"


async def test_a_second_upgrade_is_closed_and_the_first_lives() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        async with connect(node.ws_url(sid)) as socket:
            for step in ("2probe", "5"):
                async with connect(node.ws_url(sid)) as second:
                    with pytest.raises(ConnectionClosed):
                        await soon(second.recv())
                await socket.send(step)
                if step == "2probe":
                    assert await soon(socket.recv()) == "3probe"
            async with connect(node.ws_url(sid)) as second:
                with pytest.raises(ConnectionClosed):
                    await soon(second.recv())
            await socket.send("4hello")
            assert await soon(socket.recv()) == "4hello"


@pytest.mark.parametrize("data", ["5", "4hello", "", b"\x00", "2"])
async def test_a_bad_probe_leaves_polling_alone(data: str | bytes) -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        async with connect(node.ws_url(sid)) as socket:
            await socket.send(data)
            with pytest.raises(ConnectionClosed):
                await soon(socket.recv())
        await client.post(node.url(sid), content="4still here")
        assert (await client.get(node.url(sid))).text == "4still here"


async def test_a_lost_probe_leaves_polling_alone_and_may_be_repeated() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        async with connect(node.ws_url(sid)) as socket:
            await socket.send("2probe")
            await soon(socket.recv())
        async with connect(node.ws_url(sid)) as socket:
            await socket.send("2probe")
            assert await soon(socket.recv()) == "3probe"
            await socket.send("5")
            await socket.send("4again")
            assert await soon(socket.recv()) == "4again"


@pytest.mark.parametrize("sid", ["test-aaaaaa.AAAAAAAAAAAAAAAA", "dead-bbbbbb.AAAAAAAAAAAAAAAA", "junk"])
async def test_upgrade_of_an_unknown_sid_is_refused_before_101(sid: str) -> None:
    async with serve() as node:
        with pytest.raises(InvalidStatus) as refused:
            await connect(node.ws_url(sid))
        assert refused.value.response.status_code == 400
        assert refused.value.response.body == b'{"code":1,"message":"Session ID unknown"}'


async def test_upgrades_may_be_switched_off() -> None:
    async with serve(allow_upgrades=False) as node, http_client() as client:
        sid = await open_polling(node, client)
        async with connect(node.ws_url(sid)) as socket:
            with pytest.raises(ConnectionClosed):
                await soon(socket.recv())


async def test_a_session_that_ends_closes_its_probe() -> None:
    async with serve() as node, http_client() as client:
        sid = await open_polling(node, client)
        async with connect(node.ws_url(sid)) as socket:
            assert (await client.post(node.url(sid), content="1")).text == "ok"
            with pytest.raises(ConnectionClosed):
                await soon(socket.recv())
