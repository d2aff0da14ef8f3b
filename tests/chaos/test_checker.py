"""The checker against records made by hand: each kind of fault shows in its column, and nothing else does."""

from pathlib import Path

import pytest
from tests.chaos import balance
from tests.chaos.checker import (
    BEGUN_US,
    COLUMNS,
    REPEATED_US,
    Allowed,
    Verdict,
    broken_promises,
    judge,
    missed_limits,
    needless_repetitions,
    with_lost_leases,
)
from tests.chaos.records import read

APP = """\
c 10 7 S 1 0 0 0
s 100 1 7 0 S 1 0
m 101 7 S 1 1 0
e 102 1
s 200 2 7 1 S 1 0
m 201 7 S 1 2 1
e 202 2
s 300 3 7 2 S 1 0
m 301 7 S 1 3 2
e 302 3
b 2000000 1
b 2500000 2
d 9000000 7 S 0 client disconnect
"""
CLIENT = """\
o 20 7 S 0 0
> 90 7 0 S
a 110 7 0
v 111 7 S 0 50 1 1
> 190 7 1 S
a 210 7 1
v 211 7 S 1 50 1 2
> 290 7 2 S
a 310 7 2
v 311 7 S 2 50 1 3
n 2000001 7 S 50 1
n 2500001 7 S 50 2
q 8000000 7 S
"""
SECOND = """\
s 400 1 7 2 S 2 1
m 401 7 S 2 1 2
e 402 1
"""
"""What another process (51) does with the last event, under a newer token, and says that it is a redelivery."""

CRASHED = {50: (320, 1 << 62)}


def verdict(
    tmp_path: Path, app: str = APP, client: str = CLIENT, second: str = "", allowed: Allowed | None = None
) -> Verdict:
    for name, text in (("app-50", app), ("clients-0", client), ("app-51", second)):
        (tmp_path / f"{name}.txt").write_text(text)
    return judge(read(tmp_path), allowed or Allowed())


def wrong(found: Verdict) -> dict[str, int]:
    return {column: getattr(found, column) for column in COLUMNS if getattr(found, column)}


def without(text: str, line: str) -> str:
    assert line + "\n" in text
    return text.replace(line + "\n", "", 1)


def test_all_is_well(tmp_path: Path) -> None:
    found = verdict(tmp_path)
    assert wrong(found) == {}
    assert broken_promises(found, Allowed()) == []
    assert (found.clients, found.events, found.emits) == (1, 3, 5)
    assert found.gap_max_ms == 0.02
    assert found.reasons == {"client disconnect": 1}


FAULTS = {
    "an event is lost": (
        ("s 200 2 7 1 S 1 0", "m 201 7 S 1 2 1", "e 202 2"), ("v 211 7 S 1 50 1 2",), {"events_lost": 1},
    ),
    "an ack is missing": ((), ("a 210 7 1",), {"acks_missing": 1}),
    "an emit is lost": ((), ("v 211 7 S 1 50 1 2",), {"emits_lost": 1}),
    "the last emit is lost": ((), ("v 311 7 S 2 50 1 3",), {"emits_lost": 1}),
    "a broadcast is lost": ((), ("n 2000001 7 S 50 1",), {"emits_lost": 1}),
    "a connect is missing": (("c 10 7 S 1 0 0 0",), (), {"connects_missing": 1}),
    "a disconnect is missing": (("d 9000000 7 S 0 client disconnect",), (), {"disconnects_missing": 1}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_missing(tmp_path: Path, fault: str) -> None:
    app, client, expected = FAULTS[fault]
    app_text, client_text = APP, CLIENT
    for line in app:
        app_text = without(app_text, line)
    for line in client:
        client_text = without(client_text, line)
    found = verdict(tmp_path, app_text, client_text)
    assert wrong(found) == expected
    assert broken_promises(found, Allowed())


ADDED = {
    "an event twice": ("s 400 4 7 2 S 1 0\nm 401 7 S 1 4 2\ne 402 4\n", "v 411 7 S 2 50 1 4\n", {"events_doubled": 1}),
    "an emit twice": ("", "v 320 7 S 2 50 1 3\n", {"emits_doubled": 1}),
    "an ack twice": ("", "a 320 7 2\n", {"emits_doubled": 1}),
    "a broadcast twice": ("", "n 2600000 7 S 50 2\n", {"emits_doubled": 1}),
    "a disconnect twice": ("d 9000001 7 S 0 node lost\n", "", {"disconnects_doubled": 1}),
    "a connect twice": ("c 11 7 S 1 0 0 0\n", "", {"events_doubled": 1}),
    "an old event late": (
        "s 400 4 7 9 S 1 0\nm 401 7 S 1 4 9\ne 402 4\ns 500 5 7 8 S 1 0\nm 501 7 S 1 5 8\ne 502 5\n",
        "> 390 7 8 S\n> 391 7 9 S\na 410 7 9\nv 411 7 S 9 50 1 4\na 510 7 8\nv 511 7 S 8 50 1 5\n",
        {"events_reordered": 1},
    ),
    "emits swapped": (
        "s 400 4 7 3 S 1 0\nm 401 7 S 1 4 3\ne 402 4\ns 500 5 7 4 S 1 0\nm 501 7 S 1 5 4\ne 502 5\n",
        "> 390 7 3 S\n> 490 7 4 S\na 410 7 3\na 510 7 4\nv 511 7 S 4 50 1 5\nv 512 7 S 3 50 1 4\n",
        {"emits_reordered": 1},
    ),
}


@pytest.mark.parametrize("fault", ADDED)
def test_what_is_too_much_or_out_of_order(tmp_path: Path, fault: str) -> None:
    app, client, expected = ADDED[fault]
    found = verdict(tmp_path, APP + app, CLIENT + client)
    assert wrong(found) == expected
    assert broken_promises(found, Allowed())


def test_a_redelivery_is_no_duplicate_but_needs_a_reason(tmp_path: Path) -> None:
    allowed = Allowed(crashed=CRASHED, redelivered=True)
    found = verdict(tmp_path, second=SECOND, client=CLIENT + "v 411 7 S 2 51 2 1\n", allowed=allowed)
    assert wrong(found) == {}
    assert found.redelivered == 1
    assert broken_promises(found, allowed) == []
    assert needless_repetitions(found, Allowed()) == "redelivered: 1, though nothing crashed"
    assert needless_repetitions(found, Allowed(redelivered=True)) == ""


def test_a_lease_that_ran_out_without_a_fault_is_trouble_too() -> None:
    crashed = {50: (1_000, 2_000)}
    assert with_lost_leases(crashed, [(1_500, 50), (2_000 + REPEATED_US, 50)]) == crashed
    late = 2_001 + REPEATED_US
    assert with_lost_leases(crashed, [(late, 50)]) == {50: (1_000, late)}
    assert with_lost_leases(crashed, [(900, 50)]) == {50: (900, 2_000)}
    assert with_lost_leases(crashed, [(700, 51), (800, 51)]) == {50: (1_000, 2_000), 51: (700, 700)}


def test_a_redelivery_long_before_the_fault_or_after_it_is_a_duplicate(tmp_path: Path) -> None:
    client = CLIENT + "v 411 7 S 2 51 2 1\n"
    for since, to in ((300 + REPEATED_US + 1, 1 << 62), (0, 299)):
        allowed = Allowed(crashed={50: (since, to)}, redelivered=True)
        assert wrong(verdict(tmp_path, second=SECOND, client=client, allowed=allowed)) == {"events_doubled": 1}


def test_a_second_ack_of_an_event_that_was_handled_twice(tmp_path: Path) -> None:
    client = CLIENT + "v 411 7 S 2 51 2 1\na 412 7 2\n"
    allowed = Allowed(crashed=CRASHED, redelivered=True)
    found = verdict(tmp_path, second=SECOND, client=client, allowed=allowed)
    assert wrong(found) == {}
    assert (found.redelivered, found.answered_again) == (1, 1)


def test_the_end_of_a_killed_process_output_is_made_again(tmp_path: Path) -> None:
    """Its last emit did not reach Redis: another process handles the event again. Nobody does: the emit is lost."""
    client = without(CLIENT, "v 311 7 S 2 50 1 3")
    allowed = Allowed(crashed=CRASHED, redelivered=True)
    assert wrong(verdict(tmp_path, client=client + "v 411 7 S 2 51 2 1\n", second=SECOND, allowed=allowed)) == {}
    assert wrong(verdict(tmp_path, client=client, allowed=allowed)) == {"emits_lost": 1}


def test_a_hole_in_a_killed_process_output_is_a_loss(tmp_path: Path) -> None:
    client = without(CLIENT, "v 211 7 S 1 50 1 2")
    assert wrong(verdict(tmp_path, client=client, allowed=Allowed(crashed=CRASHED))) == {"emits_lost": 1}


def test_two_app_nodes_for_one_client(tmp_path: Path) -> None:
    """A handler that starts under an older token; two handlers of two processes at a time; an emit after the fence."""
    client = CLIENT + "v 411 7 S 2 51 2 1\n"
    stale = APP + "s 500 4 7 2 S 1 1\nm 501 7 S 1 4 2\ne 502 4\n"
    allowed = Allowed(crashed=CRASHED, redelivered=True)
    assert wrong(verdict(tmp_path, stale, client, SECOND, allowed)) == {"overlaps": 1}
    together = APP.replace("e 302 3", "e 450 3")
    assert wrong(verdict(tmp_path, together, client, SECOND, allowed)) == {"overlaps": 1}
    late = APP + "m 501 7 S 1 4 2\n"
    assert wrong(verdict(tmp_path, late, client + "v 511 7 S 2 50 1 4\n", SECOND, allowed)) == {"emits_stale": 1}


def test_a_handler_that_was_about_to_begin_when_its_process_was_stopped(tmp_path: Path) -> None:
    """One, at once after the process goes on; its output is refused. Not a second one, and not later."""
    client = CLIENT + "v 411 7 S 2 51 2 1\n"

    def found(*starts: int, emit: str = "", seen: str = "") -> dict[str, int]:
        cut = "".join(f"s {start} {start} 7 2 S 1 0\nx {start + 9} {start}\n" for start in starts)
        allowed = Allowed(crashed=CRASHED, redelivered=True, resumed={50: 5_000})
        return wrong(verdict(tmp_path, APP + cut + emit, client + seen, SECOND, allowed))

    assert found(5_100) == {}
    assert found(5_100, 5_200) == {"events_doubled": 1, "overlaps": 1}
    assert found(5_000 + BEGUN_US + 1) == {"events_doubled": 1, "overlaps": 1}
    assert found(4_999) == {"events_doubled": 1, "overlaps": 1}
    late = {"emit": "m 5101 7 S 1 4 2\n", "seen": "v 5111 7 S 2 50 1 4\n"}
    assert found(5_100, **late) == {"emits_stale": 1}


def test_a_cancelled_handler_is_not_at_work(tmp_path: Path) -> None:
    cancelled = APP.replace("e 302 3", "x 450 3")
    allowed = Allowed(crashed=CRASHED, redelivered=True)
    assert wrong(verdict(tmp_path, cancelled, CLIENT + "v 411 7 S 2 51 2 1\n", SECOND, allowed)) == {}


def test_what_was_under_way_when_a_connection_broke(tmp_path: Path) -> None:
    """An event without a handler and without an ack is excused where connections break by intent, not otherwise; a
    client whose events must arrive all the same is not excused for them."""
    client = CLIENT.replace("q 8000000 7 S", "> 7000000 7 3 S\np 8000000 7 S")
    assert wrong(verdict(tmp_path, client=client, allowed=Allowed(breaks=True))) == {}
    assert wrong(verdict(tmp_path, client=client, allowed=Allowed(breaks=True, strict_below=8))) == {"events_lost": 1}
    found = verdict(tmp_path, client=client)
    assert wrong(found) == {"events_lost": 1, "acks_missing": 1}
    assert "connections_broken: 1" in broken_promises(found, Allowed())


def test_what_was_sent_long_before_a_break_is_not_excused(tmp_path: Path) -> None:
    """But for a connection that a fault had silenced since."""
    client = CLIENT.replace("q 8000000 7 S", "> 6999999 7 3 S\np 8000000 7 S")
    lost = {"events_lost": 1, "acks_missing": 1}
    assert wrong(verdict(tmp_path, client=client, allowed=Allowed(breaks=True))) == lost
    assert wrong(verdict(tmp_path, client=client, allowed=Allowed(breaks=True, silent_from=7_000_000))) == {}
    later = Allowed(breaks=True, silent_from=8_500_000)  # it broke before that fault
    assert wrong(verdict(tmp_path, client=client, allowed=later)) == lost


def test_news_for_a_connection_that_broke_later(tmp_path: Path) -> None:
    """What came long before the break was due; what came within it may be lost."""
    client = without(CLIENT, "n 2000001 7 S 50 1").replace("q 8000000", "p 8000000")
    assert wrong(verdict(tmp_path, client=client, allowed=Allowed(breaks=True))) == {"emits_lost": 1}
    near = client.replace("p 8000000", "p 4000000")
    assert wrong(verdict(tmp_path, client=near, allowed=Allowed(breaks=True))) == {}


def test_how_long_a_client_was_away(tmp_path: Path) -> None:
    """From its first event without an answer to the first answer on its next connection; or to the end."""
    app = APP + "c 9000010 7 T 1 0 0 0\ns 9200001 4 7 4 T 1 0\nm 9200002 7 T 1 1 4\ne 9200003 4\n"
    app += "d 9900000 7 T 0 client disconnect\n"
    client = CLIENT.replace("q 8000000 7 S", "> 7500000 7 3 S\np 8000000 7 S")
    back = "o 9000020 7 T 0 0\n> 9200000 7 4 T\na 9200004 7 4\nv 9200004 7 T 4 50 1 1\nq 9800000 7 T\n"
    allowed = Allowed(breaks=True, away_s=1.7)
    found = verdict(tmp_path, app, client + back, allowed=allowed)
    assert wrong(found) == {}
    assert found.away_max_ms == 1700.004
    assert [str(time) for time in missed_limits(found, allowed)] == [
        "away: a client was away for 1700 ms, the limit is 1700"
    ]
    assert missed_limits(found, Allowed(breaks=True, away_s=1.8)) == []
    never = verdict(tmp_path, client=client + "> 9500000 8 0 U\n", allowed=allowed)
    assert never.away_max_ms == 2000


def test_what_was_refused_was_not_sent(tmp_path: Path) -> None:
    found = verdict(tmp_path, client=CLIENT + "> 7000000 7 3 S\nr 7000001 7 3\n")
    assert wrong(found) == {}
    assert found.events == 3


def test_a_gap_beyond_the_limit(tmp_path: Path) -> None:
    found = verdict(tmp_path, client=CLIENT.replace("a 310", "a 5000290"))
    assert [str(time) for time in missed_limits(found, Allowed(gap_s=4.9))] == [
        "gap: a client waited 5000 ms, the limit is 4900"
    ]
    assert broken_promises(found, Allowed(gap_s=4.9)) == []


def test_a_process_that_was_late_itself_measures_that_much_too_long(tmp_path: Path) -> None:
    found = verdict(tmp_path, client=CLIENT.replace("a 310", "a 5000290"))
    assert missed_limits(found, Allowed(gap_s=4.0, late_s=1.1)) == []
    assert [str(time) for time in missed_limits(found, Allowed(gap_s=4.0, late_s=0.9))] == [
        "gap: a client waited 5000 ms, the limit is 4000"
    ]


def test_a_line_cut_by_a_kill_was_not_seen(tmp_path: Path) -> None:
    assert wrong(verdict(tmp_path, APP + "s 400 4 7")) == {}


def test_counters_that_do_not_add_up_or_are_not_there() -> None:
    """The nodes' own counters: an equation without its left side does not hold."""
    equations = (("in_total", ("out_total", "waiting")),)
    text = "# TYPE in counter\nin_total 3\n# TYPE out counter\nout_total 2\n# TYPE waiting gauge\nwaiting 1\n"
    assert balance.unequal(balance.Sample(text), equations) == []
    short = balance.unequal(balance.Sample(text.replace("waiting 1", "waiting 0")), equations)
    assert short == ["in_total 3 = out_total 2 + waiting 0"]
    assert balance.unequal(balance.Sample(text.replace("in", "on")), equations) == ["there is no in_total"]


def test_silence_is_no_success(tmp_path: Path) -> None:
    assert broken_promises(verdict(tmp_path, "", "o 20 7 S 0 0\n"), Allowed())
