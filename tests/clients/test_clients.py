"""Clients in other languages, against a cluster of two io-nodes. README.md has the script that each of them runs."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.clients.build import LANGUAGES, LIMIT_S, MissingTool, command, environment
from tests.conftest import ROOT, BackgroundStack

from sio_cluster.testing.http import http_client

pytestmark = [pytest.mark.clients, pytest.mark.timeout(LIMIT_S)]

STEPS = [
    "connect", "text", "binary ack", "binary event", "question", "order", "namespace", "refusal", "kill", "reconnect",
]  # fmt: skip
LEFT_OUT = {
    "go": {"kill", "reconnect"},
    "rust": {"binary ack", "refusal"},
    "rust websocket": {"binary event"},
    "rust upgrade": {"binary event"},
}
"""Steps that a client cannot do with Socket.IO's own server either. Its source says why."""
CANNOT = {"go polling": "this client sends its first event only after the next PING, with any server"}
RUN_S = 60
"""The longest that one run of a client may take."""


@pytest.fixture(scope="module")
def stack() -> Iterator[BackgroundStack]:
    app = str(ROOT / "tests/conformance/app.py") + ":sio"
    with BackgroundStack(io_nodes=2, app_nodes=1, app=app, port=0, env={"LOG_FORMAT": "json"}) as cluster:
        yield cluster


@pytest.fixture
async def cluster(stack: BackgroundStack) -> BackgroundStack:
    """Ready again, after the test before has killed an io-node."""
    async with asyncio.timeout(RUN_S), http_client() as http:
        for node in stack.stack.io_nodes:
            while not await is_ready(http, node.url):
                await asyncio.sleep(0.1)
    return stack


@pytest.mark.parametrize("transport", ["polling", "websocket", "upgrade"])
@pytest.mark.parametrize("language", LANGUAGES)
async def test_client(cluster: BackgroundStack, tmp_path: Path, language: str, transport: str) -> None:
    if f"{language} {transport}" in CANNOT:
        pytest.skip(f"{language} {transport}: {CANNOT[f'{language} {transport}']}")
    try:
        words = command(language)
    except MissingTool as missing:
        pytest.skip(f"{language}: {missing}")
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        client = await asyncio.create_subprocess_exec(
            *words, cluster.stack.url, transport,
            env=environment(), stdout=asyncio.subprocess.PIPE, stderr=stderr, start_new_session=True,
        )  # fmt: skip
    steps: list[str] = []
    try:
        async with asyncio.timeout(RUN_S):
            assert client.stdout is not None
            async for line in client.stdout:
                step, _, sid = line.decode().strip().partition(" io")
                steps.append(step)
                if sid:
                    kill_node_of(cluster, f"io{sid}")
            status = await client.wait()
    except TimeoutError:
        os.killpg(client.pid, signal.SIGKILL)  # some commands start the client as a process of its own
        status = await client.wait()
    left_out = LEFT_OUT.get(language, set()) | LEFT_OUT.get(f"{language} {transport}", set())
    assert steps == [step for step in STEPS if step not in left_out], errors.read_text()
    assert status == 0, errors.read_text()


async def is_ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


def kill_node_of(cluster: BackgroundStack, sid: str) -> None:
    """The stack starts another one in its place."""
    (pid,) = [node.pid for node in cluster.stack.io_nodes if sid.startswith(f"{node.name}-")]
    os.kill(pid, signal.SIGKILL)
