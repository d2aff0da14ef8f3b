"""Both kinds of node start by one rule: a Redis that is away is waited for, one that refuses the password ends them."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.conformance.raw import Wire
from tests.conftest import ROOT

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.http import http_client
from sio_cluster.testing.valkey import Valkey, start_valkey

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

START_S = 50
"""A process takes 2 s of a processor to start, and many start at a time."""

COMMANDS = {
    "io-node": ["-m", "io_node.cli", "-p", "0"],
    "app-node": ["-m", "app_node.cli", str(ROOT / "tests/e2e/app.py") + ":sio"],
}
READY = {"io-node": "io_node_ready", "app-node": "app_node_started"}
FAST = {"LOG_FORMAT": "json", "HEARTBEAT_MS": "200", "LEASE_MS": "1000", "LANES": "4", "DRAIN_MS": "100"}


class Node:
    """A process of one command. `line` brings its next log line of an event."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def line(self, event: str) -> dict[str, Any]:
        assert self.process.stderr is not None
        async with asyncio.timeout(START_S):
            async for line in self.process.stderr:
                fields: dict[str, Any] = json.loads(line)
                if fields["event"] == event:
                    return fields
        raise AssertionError(f"it ended without {event}")


Start = Callable[..., Coroutine[Any, Any, Node]]


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    nodes: list[Node] = []

    async def begin(command: str, redis_url: str, **env: str) -> Node:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *COMMANDS[command], env=os.environ | FAST | {"REDIS_URL": redis_url} | env,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        nodes.append(Node(process))
        return nodes[-1]

    yield begin
    for node in nodes:
        if node.process.returncode is None:
            node.process.kill()
        await node.process.communicate()


@pytest.mark.parametrize(
    ("password", "command"),
    [
        pytest.param("", "io-node", id="none-io-node"),
        pytest.param(":wrong@", "app-node", id="wrong-app-node"),
        pytest.param("", "app-node", id="none-app-node", marks=pytest.mark.ci_only),
        pytest.param(":wrong@", "io-node", id="wrong-io-node", marks=pytest.mark.ci_only),
    ],
)
async def test_a_refused_log_in_is_one_clear_line_and_status_2(start: Start, command: str, password: str) -> None:
    with start_valkey(requirepass="right") as server:
        node = await start(command, f"redis://{password}127.0.0.1:{server.port}/0")
        async with asyncio.timeout(START_S):
            _, errors = await node.process.communicate()
    assert node.process.returncode == 2
    last = errors.decode().splitlines()[-1]
    assert last.startswith(f"{command}: REDIS_URL, REDIS_PASSWORD: Redis at 127.0.0.1:{server.port} does not let this")
    assert "Traceback" not in errors.decode()
    assert "wrong@" not in errors.decode()


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_redis_that_is_away_is_waited_for(start: Start, command: str) -> None:
    port = free_port()
    node = await start(command, f"redis://127.0.0.1:{port}/0")
    assert (await node.line("redis_retry"))["operation"] == "start"
    with start_valkey(port):
        await node.line(READY[command])
        node.process.terminate()
        async with asyncio.timeout(START_S):
            await node.process.communicate()
    assert node.process.returncode == 0


async def test_a_log_in_that_is_refused_later_costs_no_client(start: Start) -> None:
    """Somebody changes the password before the nodes have it. They wait, and say so."""
    with start_valkey(requirepass="right") as server:
        health = f"http://127.0.0.1:{free_port()}"
        app_node = await start("app-node", server.url, HEALTH_PORT=health.rpartition(":")[2])
        await app_node.line(READY["app-node"])
        io_node = await start("io-node", server.url)
        url = (await io_node.line("listening"))["url"]
        await io_node.line(READY["io-node"])
        async with Wire.open(url) as wire, http_client() as http:
            await wire.join(packets=1)
            await set_password(server, "right", "changed")
            for node in (io_node, app_node):
                assert "WRONGPASS" in (await node.line("redis_refused"))["error"]
            for node_url in (url, health):
                await until_status(http, f"{node_url}/readyz", 503)
                assert (await http.get(f"{node_url}/healthz")).status_code == 200
            await wire.send('427["number",5]')
            await set_password(server, "changed", "right")
            assert str(await wire.receive(15)).startswith("437[5,")
            for node_url in (url, health):
                await until_status(http, f"{node_url}/readyz", 200)
        assert app_node.process.returncode is None


async def set_password(server: Valkey, old: str, new: str) -> None:
    """Changes it, and closes every connection that logged in with the old one."""
    bus = RedisBus(Config(REDIS_URL=f"redis://:{old}@127.0.0.1:{server.port}/0"))
    await bus.connections.run(("CONFIG", "SET", "requirepass", new), ("CLIENT", "KILL", "TYPE", "normal"))
    await bus.stop()


async def until_status(http: httpx.AsyncClient, url: str, status: int) -> None:
    async with asyncio.timeout(15):
        while (await http.get(url)).status_code != status:
            await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
