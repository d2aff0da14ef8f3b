"""One, two or three app-nodes whose handlers end their process."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus

from .supervised import FAST, Supervised


@pytest.fixture(params=[1, 2, 3])
async def cluster(request: pytest.FixtureRequest, stage: Any, kill: Any) -> AsyncIterator[Supervised]:
    cluster = Supervised(stage, kill, request.param)
    yield cluster
    await cluster.stop()


@pytest.fixture
async def pair(stage: Any, kill: Any) -> AsyncIterator[Supervised]:
    cluster = Supervised(stage, kill, 2)
    yield cluster
    await cluster.stop()


@pytest.fixture
async def mendable(redis_config: Config, make_stage: Any, kill: Any) -> AsyncIterator[Supervised]:
    """Two app-nodes over Valkey, whose dead letters `sio-cluster` puts back."""
    config = Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, **FAST)
    stage = make_stage(config, RedisBus, None)
    cluster = Supervised(stage, kill, 2)
    yield cluster
    await cluster.stop()
    await stage.stop()
