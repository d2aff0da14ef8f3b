"""How a node comes into its cluster: what it waits for, and what ends it."""

from collections import Counter

import pytest

from sio_cluster.node.membership.joining import join
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import (
    AccessRefused,
    BusRefused,
    BusUnavailable,
    ClusterMismatch,
    ConfigError,
    RedisFull,
)


class Start:
    """`Bus.start` of a Redis that raises these errors, one after the other, and then lets the node in."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.tries = 0

    async def __call__(self) -> None:
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)


async def test_it_waits_while_redis_is_away_or_full_or_a_replica() -> None:
    start, retries = Start(BusUnavailable("LOADING"), RedisFull("OOM"), BusRefused("READONLY")), Counter[str]()
    await join(start, Retry("start", retries, cap_ms=1))
    assert start.tries == 4
    assert retries == {"start": 3}


async def test_a_refused_log_in_ends_it_at_once_and_names_the_settings() -> None:
    start = Start(AccessRefused("Redis at host:1 does not let this node in: WRONGPASS"))
    with pytest.raises(ConfigError, match=r"REDIS_URL, REDIS_PASSWORD: Redis at host:1 .* WRONGPASS"):
        await join(start, Retry("start", Counter(), cap_ms=1))
    assert start.tries == 1


async def test_a_cluster_that_differs_ends_it_at_once() -> None:
    start = Start(BusUnavailable("away"), ClusterMismatch("LANES"))
    with pytest.raises(ClusterMismatch):
        await join(start, Retry("start", Counter(), cap_ms=1))
    assert start.tries == 2
