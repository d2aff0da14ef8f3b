"""Everything that the HTTP API counts can be seen on /metrics."""

from collections import Counter
from dataclasses import fields

import pytest

from app_node.api.metrics import ApiCounters, families
from sio_cluster.node.monitoring.metrics import exposition


@pytest.mark.parametrize("name", [field.name for field in fields(ApiCounters)])
def test_every_counter_is_shown(name: str) -> None:
    counters = ApiCounters()
    value = getattr(counters, name)
    if isinstance(value, Counter):
        value["emit", "200"] += 1
    else:
        setattr(counters, name, 1)
    assert exposition(families(counters)) != exposition(families(ApiCounters())), f"{name} is counted and never shown"
