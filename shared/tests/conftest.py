"""One cluster for the contract suite, in memory or in Valkey; every test on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.contract import Cluster


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """That of the nodes, and that of a program which only emits."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture(params=["memory", "redis"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    if request.param == "redis":
        cluster = Cluster(request.getfixturevalue("redis_config"), None)
    else:
        cluster = Cluster(Config(), MemoryBroker())
    yield cluster
    await cluster.stop()
