"""One cluster for the contract suite, in memory or in Valkey; in CI every test on both event loops.

Elsewhere they run on that of the nodes alone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import uvloop

from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.contract import Cluster


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """That of the nodes, and that of a program which only emits."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "[asyncio" in item.nodeid and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.ci_only)


@pytest.fixture(params=["memory", "redis"])
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    if request.param == "redis":
        cluster = Cluster(request.getfixturevalue("redis_config"), None)
    else:
        cluster = Cluster(config_of(), MemoryBroker())
    yield cluster
    await cluster.stop()
