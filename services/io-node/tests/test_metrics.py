"""Everything that an io-node counts can be seen on /metrics."""

from collections import Counter
from dataclasses import fields
from typing import Any

import pytest

from io_node.bus.counters import BusCounters
from io_node.durations import Durations
from io_node.engineio.counters import EngineCounters
from io_node.metrics import Counts, Levels, families
from io_node.socketio.counters import ClientCounters
from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.monitoring.metrics import exposition
from sio_cluster.protocol import reasons

KINDS = {"clients": ClientCounters, "bus": BusCounters, "engine": EngineCounters, "durations": Durations}
NOTHING = Levels(False, 0, 0, 0, 0, 0, 0, 0, 0)


def shown(**changed: Any) -> bytes:
    counters = {name: kind() for name, kind in KINDS.items()} | changed
    return exposition(families(Counts(**counters, pauses=0), NOTHING))


@pytest.mark.parametrize(
    ("part", "name"), [(part, field.name) for part, kind in KINDS.items() for field in fields(kind)]
)
def test_every_counter_is_shown(part: str, name: str) -> None:
    counters = KINDS[part]()
    value = getattr(counters, name)
    if isinstance(value, Histogram):
        value.observe(0.2)
    elif isinstance(value, dict) and not isinstance(value, Counter):
        value["polling"].observe(0.2)
    else:
        setattr(counters, name, Counter({"some": 3}) if isinstance(value, Counter) else 3)
    assert shown(**{part: counters}) != shown(), f"{name} is counted and never shown"


def test_what_may_go_wrong_is_there_before_it_does() -> None:
    """`increase` does not see the first value of a series."""
    lines = shown().decode().splitlines()
    for reason in reasons.ALL:
        assert f'sio_io_connections_closed_total{{reason="{reason}"}} 0.0' in lines
        assert f'sio_io_clients_closed_total{{reason="{reason}"}} 0.0' in lines
    for reason in ("stalled", "buffer_full", "home_log_full"):
        assert f'sio_io_slow_consumers_total{{reason="{reason}"}} 0.0' in lines
    assert 'sio_io_facts_dropped_total{reason="misplaced"} 0.0' in lines
    for message in ("Forbidden", "Session ID unknown", "Too many open files", "Not accepting connections"):
        assert f'sio_io_requests_refused_total{{reason="{message}"}} 0.0' in lines


def test_a_recovery_has_a_result_and_where_it_is_refused_a_reason() -> None:
    lines = shown(clients=ClientCounters(recovered=3, claims_refused=Counter(window=2))).decode().splitlines()
    assert 'sio_io_recoveries_total{reason="",result="recovered"} 3.0' in lines
    assert 'sio_io_recoveries_total{reason="window",result="refused"} 2.0' in lines
    assert 'sio_io_recoveries_total{reason="gone",result="refused"} 0.0' in lines
