"""Clusters for tests: real processes, started once for all tests that can share them.

With CONFORMANCE_URL the conformance tests run against the server there, which has to serve tests/conformance/app.py
or an equal. CONFORMANCE_PID names its process, which must survive. So the tests were proven against Socket.IO's own
server.
"""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import pytest_asyncio
from tests.conformance.raw import Wire

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
EXTERNAL_URL = os.environ.get("CONFORMANCE_URL")
ALLOWED_ORIGIN = "http://allowed.example"

PING_INTERVAL_MS = 300
PING_TIMEOUT_MS = 1500
CONNECT_TIMEOUT_MS = 6000
REQUEST_TIMEOUT_MS = 1000
LIMITS = {
    "PING_INTERVAL_MS": str(PING_INTERVAL_MS),
    "PING_TIMEOUT_MS": str(PING_TIMEOUT_MS),
    "DOWNLINK_BUFFER_BYTES": "8000000",
    "CONNECT_TIMEOUT_MS": str(CONNECT_TIMEOUT_MS),
    "REQUEST_TIMEOUT_MS": str(REQUEST_TIMEOUT_MS),
    "DRAIN_MS": "200",
    "LOG_FORMAT": "json",
}


class BackgroundStack:
    """A `sio_stack.Stack` that lives in a thread with an event loop of its own, so that tests of any loop share it.

    `stack` is for reading; what awaits goes through `run`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._main, daemon=True)
        self.stack: Any = None
        self.errors: list[str] = []

    def __enter__(self) -> "BackgroundStack":
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def arun(self, work: Coroutine[Any, Any, T]) -> T:
        """As `run`, from a test's own loop."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        from sio_stack import Stack

        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        async with Stack(**self._settings, on_line=self._hear) as self.stack:
            self._started.set()
            await self._ended.wait()

    def _hear(self, name: str, line: str) -> None:
        """Keeps errors of the nodes' logs, but for failures of the test application's handlers."""
        try:
            entry = json.loads(line)
        except ValueError:
            entry = {"level": "error" if "Traceback" in line else "info", "event": line}
        if entry.get("level") in ("error", "critical") and entry["event"] != "handler_failed":
            self.errors.append(f"{name}: {line}")


@dataclass(frozen=True)
class Target:
    """A server under test: where clients go, each io-node behind it, and the processes that must not die."""

    name: str
    url: str
    node_urls: tuple[str, ...]
    pids: Callable[[], tuple[int, ...]] = field(default=lambda: ())

    @property
    def is_external(self) -> bool:
        return self.name == "external"

    @property
    def is_direct(self) -> bool:
        return self.name in ("direct", "external")


def conformance_stack(io_nodes: int, **env: str) -> BackgroundStack:
    app = str(ROOT / "tests/conformance/app.py") + ":sio"
    return BackgroundStack(io_nodes=io_nodes, app_nodes=1, app=app, port=0, env=LIMITS | env)


@pytest.fixture(scope="session")
def cluster_of_1() -> Iterator[BackgroundStack]:
    """One io-node that takes browsers of its own origin only."""
    with conformance_stack(1) as cluster:
        yield cluster
    assert cluster.errors == []


@pytest.fixture(scope="session")
def cluster_of_4() -> Iterator[BackgroundStack]:
    """Four io-nodes that take browsers of ALLOWED_ORIGIN."""
    with conformance_stack(4, CORS_ALLOWED_ORIGINS=ALLOWED_ORIGIN) as cluster:
        yield cluster
    assert cluster.errors == []


def target_of(name: str, request: pytest.FixtureRequest) -> Target:
    if name == "external":
        pid = os.environ.get("CONFORMANCE_PID")
        url = str(EXTERNAL_URL)
        return Target(name, url, (url,), lambda: (int(pid),) if pid and psutil.pid_exists(int(pid)) else ())
    cluster: BackgroundStack = request.getfixturevalue("cluster_of_4" if name == "nginx-4" else "cluster_of_1")
    nodes = cluster.stack.io_nodes
    urls = tuple(node.url for node in nodes)
    return Target(name, urls[0] if name == "direct" else cluster.stack.url, urls, lambda: tuple(n.pid for n in nodes))


OUR_TARGETS = ["direct", pytest.param("nginx-1", marks=pytest.mark.ci_only), "nginx-4"]


@pytest.fixture(params=["external"] if EXTERNAL_URL else OUR_TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    """Each way to reach io-nodes: directly, through nginx, through nginx with several of them.

    `direct` proves what an io-node does; `nginx-4` that nginx lets it pass and finds the right one. So `nginx-1`
    proves both again, and runs in CI only.
    """
    return target_of(request.param, request)


@pytest.fixture(params=["external"] if EXTERNAL_URL else ["direct", "nginx-4"])
def victim(request: pytest.FixtureRequest) -> Target:
    """The first and the last of those ways, for tests that send what is forbidden."""
    return target_of(request.param, request)


@pytest.fixture(params=["external"] if EXTERNAL_URL else ["direct"])
def direct(request: pytest.FixtureRequest) -> Target:
    """An io-node without nginx, for what nginx would not let through."""
    return target_of(request.param, request)


@pytest_asyncio.fixture(autouse=False)
async def bystanders(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """A client sits on each io-node during the test. Afterwards each of them and a newcomer must be served, by the same
    processes."""
    fixture = "victim" if "victim" in request.fixturenames else "direct"
    victim: Target = request.getfixturevalue(fixture)
    pids = victim.pids()
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire.open(url)) for url in victim.node_urls]
        for wire in wires:
            await wire.join()
        yield
        for wire in wires:
            await wire.works()
        async with Wire.open(victim.url) as newcomer:
            await newcomer.join()
            await newcomer.works()
    assert victim.pids() == pids
