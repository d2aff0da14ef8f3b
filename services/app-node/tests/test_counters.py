"""How facts' outcomes are counted and shown."""

from collections import Counter
from dataclasses import fields

import pytest

from app_node.counters import EVENT_HANDLED, EVENT_UNHANDLED, LANE_LOST, OUTCOMES, Counters
from app_node.durations import Durations
from app_node.membership.redis_use import RedisUse
from app_node.metrics import Levels, families
from sio_cluster.node.monitoring.histogram import Histogram
from sio_cluster.node.monitoring.metrics import exposition
from sio_cluster.node.retry import Retry
from sio_cluster.streams.api.store import StoreMemory


def test_outcomes_by_their_end() -> None:
    counters = Counters()
    counters.outcomes[EVENT_HANDLED] += 2
    counters.outcomes[EVENT_UNHANDLED] += 1
    counters.outcomes[LANE_LOST] += 4
    assert counters.ended("handled") == {"event": 2, "unhandled_event": 1}
    assert counters.ended("abandoned") == {"lane_lost": 4}
    assert counters.ended("refused") == {}


@pytest.mark.parametrize("name", [field.name for field in fields(Counters) if field.name != "durations"])
def test_every_counter_is_shown(name: str) -> None:
    counters, nothing = Counters(), Levels(False, 0, 0, 0, 0, 0, 0, 0, 0)
    before = exposition(families(counters, nothing))
    value = getattr(counters, name)
    if isinstance(value, Counter):
        value[EVENT_HANDLED if name == "outcomes" else "some"] += 1
    else:
        setattr(counters, name, 1)
    assert exposition(families(counters, nothing)) != before, f"{name} is counted and never shown"


@pytest.mark.parametrize("name", [field.name for field in fields(Durations)])
def test_every_duration_is_shown(name: str) -> None:
    counters, nothing = Counters(), Levels(False, 0, 0, 0, 0, 0, 0, 0, 0)
    before = exposition(families(counters, nothing))
    value = getattr(counters.durations, name)
    (value if isinstance(value, Histogram) else value["pay"]).observe(0.2)
    assert exposition(families(counters, nothing)) != before, f"{name} is counted and never shown"


def test_what_redis_holds_is_shown_by_one_app_node() -> None:
    use = RedisUse({0: 7, 10: 8}, {("io-node", "io1"): 9}, StoreMemory(1000, 2000, "noeviction"))
    holder, other = Levels(False, 0, 0, 0, 0, 0, 0, 0, 0, use), Levels(False, 0, 0, 0, 0, 0, 0, 0, 0)
    shown = exposition(families(Counters(), holder)).decode().splitlines()
    others = exposition(families(Counters(), other)).decode().splitlines()
    assert set(shown) - set(others) == {
        'sio_app_lane_bytes{lane="0"} 7.0',
        'sio_app_lane_bytes{lane="10"} 8.0',
        'sio_app_inbox_bytes{kind="io-node",node="io1"} 9.0',
        "sio_app_redis_memory_used_bytes 1000.0",
        "sio_app_redis_memory_max_bytes 2000.0",
    }


def test_what_may_go_wrong_is_there_before_it_does() -> None:
    """`increase` does not see the first value of a series."""
    counters = Counters()
    Retry("reads", counters.redis_retries)
    shown = exposition(families(counters, Levels(False, 0, 0, 0, 0, 0, 0, 0, 0))).decode().splitlines()
    reasons = [("facts_refused", "defect"), ("facts_refused", "set_aside"), ("facts_abandoned", "lane_lost"),
               ("commands_dropped", "lane_lost"), ("commands_dropped", "node_gone"), ("commands_dropped", "taken_back"),
               ("acks_refused", "unknown"), ("acks_refused", "malformed")]  # fmt: skip
    for name, reason in reasons:
        assert f'sio_app_{name}_total{{reason="{reason}"}} 0.0' in shown
    assert 'sio_app_facts_handled_total{kind="unhandled_event"} 0.0' in shown
    assert 'sio_app_redis_retries_total{what="reads"} 0.0' in shown
    assert len(OUTCOMES) == len({(outcome.end, outcome.label) for outcome in OUTCOMES}) == 18


def test_totals_name_what_is_not_nought() -> None:
    counters = Counters(facts_read=3)
    counters.outcomes[EVENT_HANDLED] += 3
    counters.commands_dropped["node_gone"] += 1
    counters.commands_dropped["lane_lost"] += 1
    assert counters.totals() == {"facts_handled": 3, "facts_read": 3, "commands_dropped": 2}
