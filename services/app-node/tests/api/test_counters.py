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


def test_what_may_go_wrong_is_there_before_it_does() -> None:
    """`increase` does not see the first value of a series."""
    lines = exposition(families(ApiCounters())).decode().splitlines()
    for verb, status in (("emit", "200"), ("batch", "503"), ("clients", "500"), ("", "401")):
        assert f'sio_api_requests_total{{status="{status}",verb="{verb}"}} 0.0' in lines
