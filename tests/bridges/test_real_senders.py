"""Programs with the real libraries, a bridge as a process of its own, and stock clients on two io-nodes."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio
from redis import Redis
from tests.conftest import ROOT, BackgroundStack, node

from sio_cluster.testing.http import http_client
from sio_stack.settings import free_ports

pytestmark = [pytest.mark.forked("app_node.bridge.cli"), pytest.mark.e2e, pytest.mark.timeout(300)]

SENDERS = Path(__file__).parent / "senders"
ENV = {
    "LEASE_MS": "1000",
    "DRAIN_MS": "200",
    "LOG_FORMAT": "json",
    # A stock client that hears nothing for this time and 5 s gives up, and does not come back.
    "PING_TIMEOUT_MS": "100000",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[BackgroundStack]:
    app = str(ROOT / "tests/bridges/app.py") + ":sio"
    with BackgroundStack(io_nodes=2, app_nodes=1, app=app, port=0, env=ENV) as cluster:
        yield cluster
    assert cluster.errors == []


@pytest.fixture
def redis_url(cluster: BackgroundStack) -> str:
    """As a fresh Redis to the bridges: none has read anything."""
    url: str = cluster.stack.redis_url
    with Redis.from_url(url) as redis:
        redis.delete("socket.io", "sio:{bridge}:lease", "sio:{bridge}:position:socket.io")
    return url


class BridgeProcess:
    """The command, as one starts it."""

    def __init__(self, redis_url: str) -> None:
        [self._port] = free_ports(1, set())
        env = {**os.environ, **ENV, "REDIS_URL": redis_url, "LOG_LEVEL": "error"}
        argv = (sys.executable, "-m", "app_node.bridge.cli", "--health-port", str(self._port))
        self._process = subprocess.Popen(argv, env=env)

    async def metrics(self) -> str:
        async with http_client(base_url=f"http://127.0.0.1:{self._port}") as http:
            return (await http.get("/metrics")).text

    async def refusals(self) -> list[str]:
        """What it has refused, as /metrics says it."""
        lines = (await self.metrics()).splitlines()
        return [line for line in lines if "messages_refused_total{" in line and not line.endswith(" 0.0")]

    async def until(self, *lines: str) -> None:
        """Until /metrics has these lines."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.TransportError):  # it is not there yet, or not any more
                    found = (await self.metrics()).splitlines()
                    if all(line in found for line in lines):
                        return
                await asyncio.sleep(0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        return self._process.wait(15)


ACTIVE = ("sio_bridge_active 1.0", "sio_bridge_ready 1.0")


@contextlib.asynccontextmanager
async def bridge(redis_url: str) -> AsyncIterator[BridgeProcess]:
    process = BridgeProcess(redis_url)
    try:
        await process.until(*ACTIVE)
        await asyncio.sleep(0)
        yield process
        assert process.end() == 0
    finally:
        process.end(signal.SIGKILL)


class StockClient:
    """python-socketio's own client, and what it got."""

    def __init__(self) -> None:
        self.io = socketio.AsyncClient(reconnection=False)
        self.got: list[Any] = []
        self.other: list[Any] = []
        self.numbers: list[int] = []
        self.reloaded: list[Any] = []
        self.gone = asyncio.Event()
        self.io.on("news", lambda *args: self.got.append(args[0] if len(args) == 1 else args))
        self.io.on("news", lambda *args: self.other.append(args[0]), namespace="/other")
        self.io.on("number", lambda number, *_: self.numbers.append(number))
        self.io.on("reloaded", lambda *args: self.reloaded.append(args))
        self.io.on("disconnect", lambda *_: self.gone.set())

    @property
    def sid(self) -> str:
        sid: str = self.io.get_sid()
        return sid

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(120):
            while not condition():  # handlers of the client change it
                await asyncio.sleep(0.02)


@pytest.fixture
async def clients(cluster: BackgroundStack) -> AsyncIterator[tuple[StockClient, StockClient]]:
    both = StockClient(), StockClient()
    for client, io_node in zip(both, cluster.stack.io_nodes, strict=True):
        await client.io.connect(io_node.url, namespaces=["/", "/other"], wait_timeout=30)
    yield both
    for client in both:
        await client.io.disconnect()


async def run(*argv: object) -> None:
    """Runs a sender to its end."""
    process = await asyncio.create_subprocess_exec(*map(str, argv), cwd=ROOT)
    assert await process.wait() == 0


async def test_an_unmodified_script(redis_url: str, clients: tuple[StockClient, StockClient]) -> None:
    one, two = clients
    async with bridge(redis_url):
        await run(sys.executable, SENDERS / "worker.py", redis_url, "script", one.sid)
        await one.until(lambda: one.got[-1:] == [()])
        await two.until(lambda: two.got[-1:] == [()])
    assert one.got == [{"n": 1}, ("two", 2), b"\xff\x00", "to a room", ()]
    assert two.got == [{"n": 1}, "not to that one", ()]
    assert one.other == two.other == ["elsewhere"]


@pytest.mark.ci_only
async def test_a_worker_that_forks_for_each_task(redis_url: str, clients: tuple[StockClient, StockClient]) -> None:
    async with bridge(redis_url):
        await run(sys.executable, SENDERS / "worker.py", redis_url, "worker", 0, 50)
        for client in clients:
            await client.until(lambda client=client: len(client.numbers) == 50)
            assert client.numbers == list(range(50))


CHOSEN = ["once"]
"""What `choose` in emitters.mjs sends to the client that it names."""
OTHERS = ["not in the lounge", "once", "in the garden"]
RELOADED = [(1, {"two": [2]})]


async def test_the_redis_emitter_of_node(redis_url: str, clients: tuple[StockClient, StockClient]) -> None:
    one, two = clients
    async with bridge(redis_url) as process:
        await run(node(), SENDERS / "emitters.mjs", redis_url, "redis-emitter", one.sid)
        await asyncio.wait_for(one.gone.wait(), 60)
        await two.until(lambda: two.got[-1:] == ["ümlaut 🎈"] and two.reloaded)
        refused = "sio_bridge_messages_refused_total"
        await process.until(
            'sio_bridge_messages_read_total{source="redis-emitter"} 23.0',
            'sio_bridge_messages_delivered_total{source="redis-emitter"} 22.0',
            refused + '{reason="server_event",source="redis-emitter"} 1.0',
        )
    binary = (b"\xff\x00", "1970-01-01T00:00:00.000Z", None)
    plain = ([b"\x01\x02"], "by toJSON")
    assert one.got == [(1, {"two": [2]}, None), "to a sid", "to a room", binary, plain, *CHOSEN, "ümlaut 🎈"]
    assert two.got == [(1, {"two": [2]}, None), "not to that one", *OTHERS, "ümlaut 🎈"]
    assert one.other == two.other == ["elsewhere"]
    assert two.reloaded == RELOADED


async def test_the_streams_emitter_chooses_clients(redis_url: str, clients: tuple[StockClient, StockClient]) -> None:
    one, two = clients
    async with bridge(redis_url) as process:
        await run(node(), SENDERS / "emitters.mjs", redis_url, "selections", one.sid)
        await asyncio.wait_for(one.gone.wait(), 60)
        await two.until(lambda: len(two.got) == len(OTHERS) and two.reloaded)
        await process.until('sio_bridge_messages_delivered_total{source="redis-streams-emitter"} 11.0')
        assert not await process.refusals()
    assert (one.got, two.got, two.reloaded) == (CHOSEN, OTHERS, RELOADED)
    assert two.io.connected


async def test_a_server_with_the_streams_adapter_tells_servers(
    redis_url: str, clients: tuple[StockClient, StockClient]
) -> None:
    async with bridge(redis_url) as process:
        await run(node(), SENDERS / "emitters.mjs", redis_url, "server")
        for client in clients:
            await client.until(lambda client=client: client.reloaded == RELOADED)
        await process.until('sio_bridge_messages_delivered_total{source="redis-streams-emitter"} 1.0')
        assert not await process.refusals()


@pytest.mark.ci_only
async def test_the_stream_while_bridges_are_killed(redis_url: str, clients: tuple[StockClient, StockClient]) -> None:
    """Two bridges run, and the active one is killed, again and again. Nothing is lost, little comes twice."""
    last = 6000
    processes = [BridgeProcess(redis_url), BridgeProcess(redis_url)]
    try:
        await until_any_is_active(processes)
        sending = asyncio.create_task(run(node(), SENDERS / "emitters.mjs", redis_url, "stream", 0, last))
        for part in (1, 2):
            await clients[0].until(lambda part=part: len(clients[0].numbers) > part * last / 4)
            active = await until_any_is_active(processes)
            active.end(signal.SIGKILL)
            processes.remove(active)
            processes.append(BridgeProcess(redis_url))
        await sending
        for client in clients:
            await client.until(lambda client=client: client.numbers[-1:] == [last - 1])
    finally:
        for process in processes:
            process.end(signal.SIGKILL)
    for client in clients:
        assert sorted(set(client.numbers)) == list(range(last))
        assert len(client.numbers) <= last + 2 * 64
        jumps = [at for at in range(1, len(client.numbers)) if client.numbers[at] != client.numbers[at - 1] + 1]
        assert len(jumps) <= 2, "in order, but for what was repeated"


async def until_any_is_active(processes: list[BridgeProcess]) -> BridgeProcess:
    waits = {asyncio.ensure_future(process.until(*ACTIVE)): process for process in processes}
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return waits[done.pop()]
