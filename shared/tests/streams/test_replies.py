"""What each error of Redis means to the callers of the bus."""

import pytest

from sio_cluster.protocol.errors import AccessRefused, BusRefused, BusUnavailable, RedisFull
from sio_cluster.streams.redis.replies import MasterDown, NoGroup, NoKey, NoScript, OtherSlot, ReadOnly, error_of


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("LOADING Redis is loading the dataset in memory", BusUnavailable),
        ("MASTERDOWN Link with MASTER is down", MasterDown),
        ("CLUSTERDOWN The cluster is down", BusUnavailable),
        ("TRYAGAIN Multiple keys request during rehashing of slot", BusUnavailable),
        ("BUSY Redis is busy running a script.", BusUnavailable),
        ("OOM command not allowed when used memory > 'maxmemory'.", RedisFull),
        ("READONLY You can't write against a read only replica.", ReadOnly),
        ("NOPERM User io has no permissions to run the 'get' command", AccessRefused),
        ("ERR ACL failure in script: User io has no permissions to run the 'time' command", AccessRefused),
        ("NOAUTH Authentication required.", AccessRefused),
        ("WRONGPASS invalid username-password pair", AccessRefused),
        ("DENIED Redis is running in protected mode", AccessRefused),
        ("MOVED 3999 127.0.0.1:6381", OtherSlot),
        ("CROSSSLOT Keys in request don't hash to the same slot", OtherSlot),
        ("ERR max number of clients reached", BusUnavailable),
        ("ERR max number of clients + cluster connections reached", BusUnavailable),
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
