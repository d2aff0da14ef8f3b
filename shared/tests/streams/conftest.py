"""A real server that a test may ill-treat, and a bus on it."""

from collections.abc import AsyncIterator, Iterator

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus, lookup
from sio_cluster.testing.valkey import Valkey, start_valkey

from .real_server import QUICK_S


@pytest.fixture(autouse=True)
def patient_lookups(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a thread wait gives up soon, and this machine may be busy."""
    monkeypatch.setattr(lookup, "TIMEOUT_S", 5.0)


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A server that this test may ill-treat."""
    with start_valkey(appendonly="yes", appendfsync="always") as server:
        yield server


@pytest.fixture
async def bus(server: Valkey) -> AsyncIterator[RedisBus]:
    """A bus on that server."""
    bus = RedisBus(Config(REDIS_URL=server.url))
    await bus.start()
    yield bus
    await bus.stop()


@pytest.fixture
async def impatient_bus(server: Valkey) -> AsyncIterator[RedisBus]:
    """One that soon gives up. For tests of a server that does not answer: on a busy machine, others would fail."""
    bus = RedisBus(Config(REDIS_URL=server.url), timeout_s=QUICK_S)
    await bus.start()
    yield bus
    await bus.stop()
