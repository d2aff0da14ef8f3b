"""How facts' outcomes are counted and shown."""

from app_node.counters import EVENT_HANDLED, EVENT_UNHANDLED, LANE_LOST, Counters


def test_outcomes_by_their_end() -> None:
    counters = Counters()
    counters.outcomes[EVENT_HANDLED] += 2
    counters.outcomes[EVENT_UNHANDLED] += 1
    counters.outcomes[LANE_LOST] += 4
    assert counters.ended("handled") == {"event": 2, "unhandled_event": 1}
    assert counters.ended("abandoned") == {"lane_lost": 4}
    assert counters.ended("refused") == {}


def test_totals_name_what_is_not_nought() -> None:
    counters = Counters(facts_read=3)
    counters.outcomes[EVENT_HANDLED] += 3
    counters.commands_dropped["node_gone"] += 1
    counters.commands_dropped["lane_lost"] += 1
    assert counters.totals() == {"facts_handled": 3, "facts_read": 3, "commands_dropped": 2}
