"""An HTTP API and a bridge beside a cluster, each a process of its own, as one starts them. A load test's figures."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
from loadtest.reporting.exposition import exposition
from observe.tests.known import SECOND

from sio_cluster.testing.http import http_client
from sio_stack.settings import free_ports

KEY = "0123456789abcdef"
READY_S = 120.0
"""A process of ours takes seconds of CPU to start, and the machine may do other work."""


@asynccontextmanager
async def outsiders(redis_url: str, folder: Path) -> AsyncIterator[dict[str, list[str]]]:
    """Where Prometheus finds them, `job -> host:port`. Twice a second somebody emits by the API."""
    (folder / "keys").write_text(f"test {KEY}\n")
    api, bridge, load_test = free_ports(3)
    env = {**os.environ, "REDIS_URL": redis_url, "LOG_LEVEL": "warning"}
    api_env = {**env, "API_PORT": str(api), "API_KEYS_FILE": str(folder / "keys")}
    commands = Path(sys.executable).parent
    async with (
        await asyncio.start_server(_load_test, "127.0.0.1", load_test),
        _process([str(commands / "sio-cluster"), "api"], api_env, api) as http,
        _process([str(commands / "sio-cluster-bridge")], {**env, "HEALTH_PORT": str(bridge)}, bridge),
    ):
        emitting = asyncio.create_task(_emit(http))
        try:
            yield {"api": [f"127.0.0.1:{api}"], "bridge": [f"127.0.0.1:{bridge}"],
                   "loadtest-master": [f"127.0.0.1:{load_test}"]}  # fmt: skip
        finally:
            emitting.cancel()


@asynccontextmanager
async def _process(argv: list[str], env: dict[str, str], port: int) -> AsyncIterator[httpx.AsyncClient]:
    process = await asyncio.create_subprocess_exec(*argv, env=env)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.wait)
        stack.callback(process.terminate)
        http = await stack.enter_async_context(http_client(base_url=f"http://127.0.0.1:{port}"))
        async with asyncio.timeout(READY_S):
            while not await _is_ready(http):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield http


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def _load_test(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers as locust's web interface does."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n")
    writer.write(exposition(SECOND).encode())
    await writer.drain()
    writer.close()


async def _emit(http: httpx.AsyncClient) -> None:
    while True:
        answer = await http.post("/api/emit", json={"event": "news", "data": 1}, headers={"X-API-Key": KEY})
        answer.raise_for_status()
        await asyncio.sleep(0.5)
