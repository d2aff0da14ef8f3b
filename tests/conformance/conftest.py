"""The servers under test. Each cluster is started once, and ends with the last conformance test of its worker process.

With CONFORMANCE_URL the tests run against the server there, which has to serve tests/conformance/app.py or an equal.
CONFORMANCE_PID names its process, which must survive. So the tests were proven against Socket.IO's own server.
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import psutil
import pytest
import pytest_asyncio
from tests.conformance.raw import Wire
from tests.conftest import ROOT, BackgroundStack

EXTERNAL_URL = os.environ.get("CONFORMANCE_URL")
ALLOWED_ORIGIN = "http://allowed.example"

PING_INTERVAL_MS = 300
PING_TIMEOUT_MS = 4000  # in which a test gets a processor, also where much else runs
CONNECT_TIMEOUT_MS = 6000
REQUEST_TIMEOUT_MS = 3000  # Node.js may take a second between a connection and its request
LIMITS = {
    "PING_INTERVAL_MS": str(PING_INTERVAL_MS),
    "PING_TIMEOUT_MS": str(PING_TIMEOUT_MS),
    "DOWNLINK_BUFFER_BYTES": "8000000",
    "CONNECT_TIMEOUT_MS": str(CONNECT_TIMEOUT_MS),
    "REQUEST_TIMEOUT_MS": str(REQUEST_TIMEOUT_MS),
    "DRAIN_MS": "200",
    "LOG_FORMAT": "json",
}


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


@pytest.fixture(scope="package")
def cluster_of_1() -> Iterator[BackgroundStack]:
    """One io-node that takes browsers of its own origin only."""
    with conformance_stack(1) as cluster:
        yield cluster
    assert cluster.errors == []


@pytest.fixture(scope="package")
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


OUR_TARGETS = ["direct", pytest.param("nginx-4", marks=pytest.mark.ci_only)]


@pytest.fixture(params=["external"] if EXTERNAL_URL else OUR_TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    """Each way to reach io-nodes: directly, and through nginx with several of them.

    `direct` proves what an io-node does, and runs everywhere. That nginx lets each of it pass, and finds the right
    io-node of several, is proved in CI; elsewhere tests/e2e goes through nginx with whole clients.
    """
    return target_of(request.param, request)


@pytest.fixture(params=["external"] if EXTERNAL_URL else ["direct"])
def direct(request: pytest.FixtureRequest) -> Target:
    """An io-node without nginx, for what nginx would not let through."""
    return target_of(request.param, request)


@pytest_asyncio.fixture(autouse=False)
async def bystanders(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """A client sits on each io-node during the test. Afterwards each of them and a newcomer must be served, by the same
    processes."""
    victim: Target = request.getfixturevalue("target" if "target" in request.fixturenames else "direct")
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
