"""One cluster for the contract suite, in memory or in Valkey."""

from collections.abc import AsyncIterator

import pytest

from sio_cluster.config import Config
from sio_cluster.testing.contract import Cluster
from sio_cluster.testing.memory import MemoryBroker


@pytest.fixture(params=["memory", "redis"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    if request.param == "redis":
        cluster = Cluster(request.getfixturevalue("redis_config"), None)
    else:
        cluster = Cluster(Config(), MemoryBroker())
    yield cluster
    await cluster.stop()
