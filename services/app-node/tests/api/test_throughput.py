"""10,000 emits a second, in batches, for one core's worth of an API process."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psutil
import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.ids import new_node_id
from sio_cluster.protocol.messages import LEVEL
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.http import http_client
from sio_stack.ready import answers_http
from sio_stack.settings import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.alone]

COMMAND = str(Path(sys.executable).with_name("sio-cluster"))
KEY = "throughput-key-0123456789"
MOST_US = 200
"""CPU time of the API process for one emit. With 100 it does 10,000 a second on one core; it was 57 to 81 where nothing
else ran. A processor that others share counts up to twice as much for the same work."""
BATCH, BATCHES, CALLERS = 1_000, 4, 4
ROUNDS = 4


@contextlib.asynccontextmanager
async def running_api(config: Config, folder: Path) -> AsyncIterator[tuple[httpx.AsyncClient, psutil.Process]]:
    """A real API process, as people run it."""
    (folder / "keys").write_text(f"test {KEY}\n")
    [port] = free_ports(1)
    settings = {
        "REDIS_URL": str(config.redis_url),
        "REDIS_PREFIX": str(config.redis_prefix),
        "LANES": str(config.lanes),
    }
    settings |= {"API_PORT": str(port), "API_KEYS_FILE": str(folder / "keys"), "API_TIMEOUT_MS": "60000"}
    process = await asyncio.create_subprocess_exec(COMMAND, "api", env=os.environ | settings)
    async with http_client(base_url=f"http://127.0.0.1:{port}", headers={"X-API-Key": KEY}, timeout=90) as http:
        try:
            async with asyncio.timeout(90):
                while not await answers_http(port):  # the process tells nobody
                    await asyncio.sleep(0.05)
            yield http, psutil.Process(process.pid)
        finally:
            process.terminate()
            assert await process.wait() == 0


@pytest.mark.ci_only
@pytest.mark.timeout(300)
async def test_an_emit_in_a_batch_takes_little_cpu(redis_config: Config, tmp_path: Path) -> None:
    """In the best of some rounds: CPU time grows too where others use the core's caches."""
    bus = RedisBus(redis_config)
    await bus.start()
    io_node = new_node_id("io1", os.urandom)
    await bus.registry.register_io_node(io_node, {"level": str(LEVEL)})
    await bus.registry.heartbeat(io_node, 600_000)
    emits = [{"verb": "emit", "event": "news", "data": {"n": n}, "room": f"room {n}"} for n in range(BATCH)]
    async with running_api(redis_config, tmp_path) as (http, process):

        async def call() -> None:
            for _ in range(BATCHES):
                answer = await http.post("/api/batch", json={"commands": emits})
                assert answer.status_code == 200, answer.text
                assert answer.json()["result"] == [{"result": None}] * BATCH

        rounds: list[float] = []
        for _ in range(ROUNDS):
            before = process.cpu_times()
            await asyncio.gather(*(call() for _ in range(CALLERS)))
            after = process.cpu_times()
            used_s = after.user - before.user + after.system - before.system
            rounds.append(1e6 * used_s / (BATCH * BATCHES * CALLERS))
    await bus.stop()
    print("CPU us for each emit:", [round(us, 1) for us in rounds])
    assert 1 < min(rounds) < MOST_US, rounds
