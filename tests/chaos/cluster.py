"""A Redis server and the nodes of one scenario, what they log, and what is kept of them where the scenario fails.

`tests.chaos.field` adds clients that work all the while, `tests.chaos.scene` clients that claim their sessions back.
"""

import asyncio
import json
import random
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError
from tests.chaos import evidence, records
from tests.chaos.proxy import Proxy
from tests.conftest import ROOT
from tests.warm import NODES, forked

from sio_cluster.testing.http import http_client
from sio_cluster.testing.valkey import Valkey, start_valkey
from sio_stack import Stack
from sio_stack.settings import free_ports
from sio_stack.stack import Node

RESULTS = ROOT / ".run/chaos"
written: list[Path] = []
"""The results that this process has written, for whoever shows them."""
LEASE_S, NODE_TIMEOUT_S, DRAIN_S = 1.5, 3.0, 1.0
ENV = {
    "LEASE_MS": str(int(LEASE_S * 1000)),
    "HEARTBEAT_MS": "300",
    "NODE_TIMEOUT_MS": str(int(NODE_TIMEOUT_S * 1000)),
    "DRAIN_MS": str(int(DRAIN_S * 1000)),
    "SHUTDOWN_MS": "5000",
    "LOG_FORMAT": "json",
}
SPIKE_MS = 100
"""What takes Redis at least so long is told where a limit of time is missed."""


class Cluster:
    """What `cluster` has started. `lines`: what the nodes printed, each with the node's name."""

    def __init__(self, name: str, seed: int, directory: Path, valkey: Valkey, machine: evidence.Machine) -> None:
        self.name = name
        self.seed = seed
        self.rng = random.Random(f"{seed}/{name}")
        self.directory = directory
        self.valkey = valkey
        self.machine = machine
        self.proxies: dict[str, Proxy] = {}
        self.lines: list[tuple[str, str]] = []
        self.leases_lost: list[tuple[int, int]] = []  # when, and by which process
        self._stack: Stack | None = None

    @property
    def stack(self) -> Stack:
        assert self._stack is not None
        return self._stack

    async def start(self, exits: AsyncExitStack, **settings: Any) -> None:
        """Starts the nodes. `settings` are those of `Stack`."""
        self._stack = Stack(port=0, on_line=self._hear, **settings)
        await exits.enter_async_context(self._stack)

    def logged(self, event: str, node: str = "") -> list[dict[str, Any]]:
        """The log lines of that event (of that node) so far."""
        found = []
        for name, line in self.lines:
            if event in line and (not node or name == node):
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue
                if entry.get("event") == event:
                    found.append(entry)
        return found

    async def tell_redis(self, *command: str | int) -> Any:
        redis = Redis.from_url(self.valkey.url)
        try:
            return await redis.execute_command(*command)
        finally:
            await redis.aclose()

    async def slowest_in_redis(self) -> str:
        """What took Redis long since it was last started. Nothing where it does not answer."""
        with suppress(RedisError, OSError):
            spikes = await self.tell_redis("LATENCY", "LATEST")
            named = ", ".join(f"{what.decode()} {longest} ms" for what, _, _, longest, *_ in spikes)
            return f"what took Redis longest: {named or f'nothing as long as {SPIKE_MS} ms'}"
        return ""

    def write(self, kind: str, row: Mapping[str, Any]) -> None:
        """Writes the scenario's file of results, for `tests.chaos.results`, which says what kinds there are."""
        RESULTS.mkdir(parents=True, exist_ok=True)
        path = RESULTS / f"{self.name.replace(' ', '-')}.json"
        path.write_text(json.dumps({"scenario": self.name, "kind": kind, "seed": self.seed} | dict(row), indent=1))
        written.append(path)

    def keep(self) -> None:
        """Saves the records and logs of a scenario that failed, to look at."""
        kept = RESULTS / f"failed-{self.name.replace(' ', '-')}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.directory, kept)
        (kept / "log.txt").write_text("\n".join(f"{name}: {line}" for name, line in self.lines))
        print(f"\n{self.name}: records and logs are in {kept.relative_to(ROOT)}, CHAOS_SEED={self.seed}")

    def _hear(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        if '"lane_lost"' in line:
            self.leases_lost += [(records.now_us(), node.pid) for node in self.stack.app_nodes if node.name == name]


@asynccontextmanager
async def cluster(
    name: str,
    seed: int,
    *,
    io_nodes: int,
    app_nodes: int,
    app: str,
    env: Mapping[str, str] | None = None,
    app_envs: list[Mapping[str, str]] | None = None,
    io_envs: list[Mapping[str, str]] | None = None,
    proxied: tuple[str, ...] = (),
    redis: Mapping[str, str] | None = None,
) -> AsyncIterator[Cluster]:
    """Starts everything, and stops it at the end.

    `proxied`: for "app" or "io", one more node of that kind, behind a proxy of its own to Redis; for "all", every
    node is behind one proxy. `redis`: options of the server, which has an append-only file by default.
    """
    directory = Path(tempfile.mkdtemp(prefix="sio-chaos-"))
    options = {
        "appendonly": "yes",
        "appendfsync": "no",  # what is written outlives a kill -9 all the same; the disk is not what is tried here
        "maxmemory_policy": "noeviction",
        "latency_monitor_threshold": str(SPIKE_MS),
    } | dict(redis or {})
    async with AsyncExitStack() as exits:
        exits.callback(shutil.rmtree, directory, ignore_errors=True)
        valkey = exits.enter_context(start_valkey(free_ports(1)[0], **options))
        it = Cluster(name, seed, directory, valkey, await exits.enter_async_context(evidence.watched()))
        it.proxies = {kind: await exits.enter_async_context(Proxy(valkey.port, seed=seed)) for kind in proxied}
        try:
            with forked(*NODES):  # the first nodes; those that replace them are started as always
                await it.start(
                    exits, io_nodes=io_nodes, app_nodes=app_nodes, app=app,
                    redis_url=it.proxies["all"].redis_url if "all" in it.proxies else valkey.url,
                    env={**ENV, "CHAOS_RECORDS": str(directory), **(env or {})},
                )  # fmt: skip
                for own in [*(io_envs or []), *_behind(it.proxies, "io")]:
                    await it.stack.add_io_node(own)
                for own in [*(app_envs or []), *_behind(it.proxies, "app")]:
                    await it.stack.start_app_node(own)
            yield it
        except BaseException:  # a time-out and Ctrl-C too: what was written until then says why
            it.keep()
            raise


def _behind(proxies: Mapping[str, Proxy], kind: str) -> list[Mapping[str, str]]:
    return [{"REDIS_URL": proxies[kind].redis_url}] if kind in proxies else []


async def ready(node: Node) -> bool:
    """Whether its /readyz says so now. No answer means no."""
    try:
        async with http_client(timeout=2) as http:
            return (await http.get(f"{node.url}/readyz")).status_code == 200
    except httpx.TransportError:
        return False


async def serves_anew(node: Node, old: int, within_s: float) -> None:
    """Waits until the stack has started it again and it is ready. `old` is its former process id."""

    async def serves() -> bool:
        return node.pid not in (0, old) and await ready(node)

    await until(serves, within_s, f"{node.name} did not serve again")


async def until(condition: Callable[[], Awaitable[bool]], within_s: float, else_: str, every_s: float = 0.05) -> None:
    """Polls a condition of another process, which cannot tell when it changes: files, answers, logs."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, f"{else_} within {within_s:g} s"
        await asyncio.sleep(every_s)


def node_js() -> str:
    """The program that runs JavaScript: that of the virtual environment, where it has one."""
    own = Path(sys.executable).parent / "node"
    return str(own) if own.exists() else "node"
