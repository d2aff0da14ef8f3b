"""`Connection.when_taken`: told once, when the transport has taken all that waits."""

import httpx
import pytest

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons

from .serving import Raw, client_frame, open_polling, serve, soon, until

HELLO = Outbound(b"hello")


async def test_by_websocket() -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        connection = (await node.recorder()).connection
        told: list[str] = []
        connection.send(HELLO)
        connection.when_taken(lambda: told.append("one"))
        connection.when_taken(lambda: told.append("two"))
        assert told == []
        await soon(raw.frame())
        assert told == ["one", "two"]
        connection.send(HELLO)
        await soon(raw.frame())
        assert told == ["one", "two"]
        raw.close()


@pytest.mark.parametrize("closes", [False, True])
async def test_a_websocket_that_does_not_take_it(closes: bool) -> None:
    async with serve() as node:
        raw = await Raw.websocket(node)
        recorder = await node.recorder()
        told: list[int] = []
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        recorder.connection.send(Outbound(b"x" * 30_000_000))
        recorder.connection.when_taken(lambda: told.append(1))
        await until(lambda: node.engine.connections.buffers.waiting_bytes)
        assert told == []
        if closes:
            recorder.connection.fail(reasons.TRANSPORT_ERROR)
            assert await soon(recorder.closed.get()) == reasons.TRANSPORT_ERROR
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        if not closes:
            await soon(raw.frame())
            await until(lambda: told)
        assert told == ([] if closes else [1])
        raw.close()


@pytest.mark.parametrize("size", [5, 200_000])
async def test_by_polling(size: int) -> None:
    async with serve() as node, httpx.AsyncClient() as client:
        sid = await open_polling(node, client)
        connection = (await node.recorder()).connection
        told: list[int] = []
        for _ in range(3):
            connection.send(Outbound(b"x" * size))
        connection.when_taken(lambda: told.append(1))
        got = 0
        while got < 3 * size:
            assert told == []
            got += (await client.get(node.url(sid))).text.count("x")
        await until(lambda: told)


async def test_when_it_moves_to_a_websocket() -> None:
    async with serve() as node, httpx.AsyncClient() as client:
        sid = await open_polling(node, client)
        connection = (await node.recorder()).connection
        told: list[int] = []
        connection.send(HELLO)
        connection.when_taken(lambda: told.append(1))
        raw = await Raw.websocket(node, sid)
        await raw.send(client_frame(b"2probe"))
        assert await raw.frame() == (0x81, b"3probe")
        assert told == []
        await raw.send(client_frame(b"5"))
        assert await raw.frame() == (0x81, b"4hello")
        assert told == [1]
        raw.close()
