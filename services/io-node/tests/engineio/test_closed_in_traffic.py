"""A connection closes while messages wait, and the stock JavaScript client comes back for what it missed."""

import asyncio
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from io_node.engineio.api import Connection, Outbound
from sio_cluster.protocol import reasons

from .serving import Node, Recorder, serve, soon, until

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parent / "numbers.mjs"
LET_IN = b'0{"sid":"sid","pid":"pid"}'


@pytest.mark.parametrize("transport", ["polling", "websocket"])
@pytest.mark.parametrize("reason", [reasons.NODE_LOST, reasons.NODE_DRAINED, reasons.PARSE_ERROR])
async def test_each_number_comes_once_and_in_order(reason: str, transport: str) -> None:
    """An event that the client takes after the end of its session counts for the next one, without its offset."""
    async with serve() as node:
        url = f"http://127.0.0.1:{node.port}"
        command = (javascript(), str(SCRIPT), url, transport)
        client = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            recorder, _ = await joined(node)
            await until(lambda: ready(node))
            send_numbers(recorder.connection, range(200))
            recorder.connection.close(reason)
            recorder, shown = await joined(node)
            send_numbers(recorder.connection, range(int(shown.get("offset", -1)) + 1, 400))
            recorder.connection.send(Outbound(b'2["end"]'))
            got = json.loads(await soon(client.stdout.read()))
        finally:
            client.stdin.close()
            await soon(client.wait())
    assert got["numbers"] == list(range(400))
    assert len(got["reasons"]) == 1


async def joined(node: Node) -> tuple[Recorder, dict[str, Any]]:
    """The next connection, let in, and what its client has shown with its CONNECT."""
    recorder = await node.recorder()
    recorder.echo = False
    connect = str(await soon(recorder.messages.get()))
    recorder.connection.send(Outbound(LET_IN))
    return recorder, json.loads(connect[1:] or "{}")


def ready(node: Node) -> bool:
    """Whether what is sent now to the only connection leaves at once, all in one go."""
    (session,) = [connection._session for connection in node.engine.connections]
    return session.queue.messages == 0 and (session.transport == "websocket" or session.poll_waiting)


def send_numbers(connection: Connection, numbers: Iterable[int]) -> None:
    for number in numbers:
        connection.send(Outbound(b'2["number",%d,"%d"]' % (number, number)))


def javascript() -> str:
    """The Node of the project's environment, else that of the system."""
    own = Path(sys.executable).parent / "node"
    return str(own) if own.exists() else "node"
