"""What is measured. Each target is processes of its own, whose CPU time counts."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from sio_cluster.testing.valkey import start_valkey
from sio_stack.child import Child
from sio_stack.ready import answers_http
from sio_stack.settings import free_ports

START_TIMEOUT_S = 30.0
LONG_PING_MS = "300000"  # no heartbeat falls into a measurement


Start = Callable[[list[str], dict[str, str]], Coroutine[None, None, psutil.Process]]
"""Starts a process with this command and these additional environment variables."""

_POLLING = "/socket.io/?EIO=4&transport=polling"


@dataclass
class Target:
    """A running target: where clients connect, and its processes by name."""

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
    (port,) = free_ports(1)
    async with _processes() as start:
        process = await start([sys.executable, "-m", "loadtest.bench.peer", str(port)], {})
        await _answers(port, _POLLING)
        yield Target("python-socketio, 1 process", [port], {"server": process})


@asynccontextmanager
async def with_redis_manager() -> AsyncIterator[Target]:
    """python-socketio in two processes joined by its Redis manager (pub/sub)."""
    ports = free_ports(2)
    with start_valkey() as valkey:
        async with _processes() as start:
            target = Target("python-socketio, 2 processes + Redis manager", ports)
            target.processes["redis"] = psutil.Process(valkey.pid)
            for port in ports:
                arguments = [sys.executable, "-m", "loadtest.bench.peer", str(port), valkey.url]
                target.processes[f"server-{port}"] = await start(arguments, {})
            for port in ports:
                await _answers(port, _POLLING)
            yield target


@asynccontextmanager
async def cluster(io_nodes: int) -> AsyncIterator[Target]:
    """This cluster: Redis, `io_nodes` io-nodes and one app-node. Clients go to the io-nodes, without nginx."""
    *ports, health_port = free_ports(io_nodes + 1)
    with start_valkey() as valkey:
        environment = {"REDIS_URL": valkey.url, "PING_INTERVAL_MS": LONG_PING_MS, "LOG_LEVEL": "warning"}
        async with _processes() as start:
            target = Target(f"cluster, {io_nodes} io-node{'s' * (io_nodes > 1)} + 1 app-node", ports)
            target.processes["redis"] = psutil.Process(valkey.pid)
            for index, port in enumerate(ports):
                arguments = [sys.executable, "-m", "io_node.cli", "-p", str(port)]
                target.processes[f"io{index}"] = await start(arguments, {**environment, "NODE_NAME": f"io{index}"})
            arguments = [sys.executable, "-m", "app_node.cli", "loadtest.bench.cluster_app:sio"]
            target.processes["app"] = await start(arguments, {**environment, "HEALTH_PORT": str(health_port)})
            for port in [*ports, health_port]:
                await _answers(port, "/readyz")
            yield target


@asynccontextmanager
async def _processes() -> AsyncIterator[Start]:
    started: list[Child] = []

    async def start(arguments: list[str], extra: dict[str, str]) -> psutil.Process:
        child = Child(print)
        started.append(child)
        await child.start(arguments, {**os.environ, **extra}, Path.cwd())
        return psutil.Process(child.pid)

    try:
        yield start
    finally:
        for child in started:
            child.kill()
        for child in started:
            await child.wait()
            await child.close()


async def _answers(port: int, path: str) -> None:
    """Returns when a GET of this path is answered with 200. Raises TimeoutError after START_TIMEOUT_S."""
    async with asyncio.timeout(START_TIMEOUT_S):
        while not await answers_http(port, path):  # noqa: ASYNC110 - another process starts
            await asyncio.sleep(0.1)
