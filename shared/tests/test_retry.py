"""Waits between tries."""

import itertools
import math

import pytest

from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusRefused, BusUnavailable, RedisFull
from sio_cluster.streams.redis.replies import NoGroup, NoKey, NoScript, ReadOnly, error_of


def test_it_doubles_up_to_its_cap() -> None:
    waits = list(itertools.islice(Backoff(50, 2000, lambda: 1.0), 8))
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_jitter_takes_up_to_half_away() -> None:
    assert math.isclose(next(Backoff(100, 2000, lambda: 0.0)), 0.05)
    waits = [wait for _ in range(100) for wait in itertools.islice(Backoff(), 10)]
    assert min(waits) >= 0.025
    assert max(waits) <= 2.0


def test_reset_begins_anew() -> None:
    backoff = Backoff(50, 2000, lambda: 1.0)
    list(itertools.islice(backoff, 5))
    backoff.reset()
    assert next(backoff) == 0.05


def test_the_cap_counts_from_the_first() -> None:
    assert next(Backoff(5000, 2000, lambda: 1.0)) == 2.0


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", BusUnavailable),
        ("MASTERDOWN Link with MASTER is down", BusUnavailable),
        ("CLUSTERDOWN The cluster is down", BusUnavailable),
        ("TRYAGAIN Multiple keys request during rehashing of slot", BusUnavailable),
        ("BUSY Redis is busy running a script.", BusUnavailable),
        ("OOM command not allowed when used memory > 'maxmemory'.", RedisFull),
        ("READONLY You can't write against a read only replica.", ReadOnly),
        ("NOPERM User io has no permissions to run the 'get' command", BusRefused),
        ("NOAUTH Authentication required.", BusRefused),
        ("WRONGPASS invalid username-password pair", BusRefused),
        ("MISCONF Redis is configured to save RDB snapshots", BusRefused),
        ("WRONGTYPE Operation against a key", BusRefused),
        ("NOSCRIPT No matching script.", NoScript),
        ("NOGROUP No such key or consumer group", NoGroup),
        ("UNBLOCKED the stream key no longer exists", NoGroup),
        ("ERR no such key", NoKey),
        ("ERR unknown command", BusRefused),
        ("", BusRefused),
    ],
)
def test_each_error_of_redis_has_its_kind(text: str, kind: type[Exception]) -> None:
    assert type(error_of(text)) is kind
