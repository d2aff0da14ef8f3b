"""One cluster for the contract suite, in memory or in Valkey."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop

from sio_cluster.config import Config
from sio_cluster.testing.contract import Cluster
from sio_cluster.testing.memory import MemoryBroker


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The event loop that the nodes run on."""
    return uvloop.EventLoopPolicy()


@pytest.fixture(params=["memory", "redis"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    if request.param == "redis":
        cluster = Cluster(request.getfixturevalue("redis_config"), None)
    else:
        cluster = Cluster(Config(), MemoryBroker())
    yield cluster
    await cluster.stop()
