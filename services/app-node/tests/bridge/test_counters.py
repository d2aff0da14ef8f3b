"""Everything that a bridge counts can be seen on /metrics."""

from collections import Counter
from dataclasses import fields

import pytest

from app_node.bridge.counters import BridgeCounters
from app_node.bridge.metrics import families
from sio_cluster.node.monitoring.metrics import exposition


def shown(counters: BridgeCounters) -> bytes:
    return exposition(families(counters, ready=False, active=False))


@pytest.mark.parametrize("name", [field.name for field in fields(BridgeCounters)])
def test_every_counter_is_shown(name: str) -> None:
    counters = BridgeCounters()
    value = getattr(counters, name)
    if isinstance(value, Counter):
        value[("redis-manager", "pickled") if name == "refused" else "redis-manager"] += 1
    else:
        setattr(counters, name, 1)
    assert shown(counters) != shown(BridgeCounters()), f"{name} is counted and never shown"
