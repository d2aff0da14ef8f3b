"""Everything that a bridge counts can be seen on /metrics."""

from collections import Counter
from dataclasses import fields

import pytest

from app_node.bridge.counters import BridgeCounters
from app_node.bridge.metrics import families
from sio_cluster.node.monitoring.metrics import exposition


def shown(counters: BridgeCounters) -> bytes:
    return exposition(families(counters, ready=False, active=False))


def test_what_may_be_refused_is_there_before_it_is() -> None:
    lines = shown(BridgeCounters()).decode().splitlines()
    assert 'sio_bridge_messages_read_total{source="redis-manager"} 0.0' in lines
    assert 'sio_bridge_messages_refused_total{reason="nodes_too_old",source="redis-streams-emitter"} 0.0' in lines
    assert 'sio_bridge_messages_refused_total{reason="failed",source="redis-emitter"} 0.0' in lines


@pytest.mark.parametrize("name", [field.name for field in fields(BridgeCounters)])
def test_every_counter_is_shown(name: str) -> None:
    counters = BridgeCounters()
    value = getattr(counters, name)
    if isinstance(value, Counter):
        value[("redis-manager", "pickled") if name == "refused" else "redis-manager"] += 1
    else:
        setattr(counters, name, 1)
    assert shown(counters) != shown(BridgeCounters()), f"{name} is counted and never shown"
