"""What is measured: each target as processes of its own, with the CPU time that they use."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import httpx
import psutil

from sio_cluster.testing.valkey import start_valkey

START_TIMEOUT_S = 30.0
LONG_PING_MS = "300000"  # no heartbeat falls into a measurement


class _Start(Protocol):
    def __call__(
        self, name: str, arguments: list[str], extra: dict[str, str] | None = None
    ) -> Awaitable[psutil.Process]: ...


@dataclass
class Target:
    """A running target: where clients connect, and the processes whose CPU time counts."""

    name: str
    ports: list[int]
    processes: dict[str, psutil.Process] = field(default_factory=dict)

    def cpu_seconds(self) -> float:
        """User and system CPU time of all its processes since they started, in seconds."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes.values())

    def memory_bytes(self) -> int:
        """Resident memory of the processes that hold connections."""
        return sum(p.memory_info().rss for name, p in self.processes.items() if not name.startswith(("redis", "app")))


@asynccontextmanager
async def plain() -> AsyncIterator[Target]:
    """python-socketio in one process, no Redis."""
    port = _free_port()
    async with _processes() as start:
        process = await start("server", [sys.executable, "-m", "loadtest.bench.peer", str(port)])
        await _answers(f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling")
        yield Target("python-socketio, 1 process", [port], {"server": process})


@asynccontextmanager
async def with_redis_manager() -> AsyncIterator[Target]:
    """python-socketio in two processes joined by its Redis manager (pub/sub)."""
    ports = [_free_port(), _free_port()]
    with start_valkey() as valkey:
        async with _processes() as start:
            target = Target("python-socketio, 2 processes + Redis manager", ports)
            target.processes["redis"] = psutil.Process(valkey.pid)
            for port in ports:
                arguments = [sys.executable, "-m", "loadtest.bench.peer", str(port), valkey.url]
                target.processes[f"server-{port}"] = await start(f"server-{port}", arguments)
            for port in ports:
                await _answers(f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling")
            yield target


@asynccontextmanager
async def cluster(io_nodes: int) -> AsyncIterator[Target]:
    """This cluster: Redis, `io_nodes` io-nodes and one app-node; clients go to the io-nodes directly."""
    ports = [_free_port() for _ in range(io_nodes)]
    health_port = _free_port()
    with start_valkey() as valkey:
        environment = {"REDIS_URL": valkey.url, "PING_INTERVAL_MS": LONG_PING_MS, "LOG_LEVEL": "warning"}
        async with _processes(environment) as start:
            target = Target(f"cluster, {io_nodes} io-node{'s' * (io_nodes > 1)} + 1 app-node", ports)
            target.processes["redis"] = psutil.Process(valkey.pid)
            for index, port in enumerate(ports):
                arguments = [sys.executable, "-m", "io_node.cli", "-p", str(port)]
                target.processes[f"io{index}"] = await start(f"io{index}", arguments, {"NODE_NAME": f"io{index}"})
            arguments = [sys.executable, "-m", "app_node.cli", "loadtest.bench.cluster_app:sio"]
            target.processes["app"] = await start("app", arguments, {"HEALTH_PORT": str(health_port)})
            for port in [*ports, health_port]:
                await _answers(f"http://127.0.0.1:{port}/readyz")
            yield target


@asynccontextmanager
async def _processes(environment: dict[str, str] | None = None) -> AsyncIterator[_Start]:
    started: list[asyncio.subprocess.Process] = []

    async def start(name: str, arguments: list[str], extra: dict[str, str] | None = None) -> psutil.Process:
        env = {**os.environ, **(environment or {}), **(extra or {})}
        process = await asyncio.create_subprocess_exec(*arguments, env=env)
        started.append(process)
        return psutil.Process(process.pid)

    try:
        yield start
    finally:
        for process in started:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
        await asyncio.gather(*(process.wait() for process in started))


async def _answers(url: str) -> None:
    """Wait until the URL answers 200. Raises TimeoutError after START_TIMEOUT_S."""
    async with asyncio.timeout(START_TIMEOUT_S), httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
