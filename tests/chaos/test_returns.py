"""The checker against records of a client that came back, made by hand: what it misses shows, and who it is as well."""

from pathlib import Path

import pytest
from tests.chaos.checker import COLUMNS, Allowed, Verdict, broken_promises, judge
from tests.chaos.records import read

APP = """\
c 10 7 S 1 0 0 0
s 100 1 7 0 S 1 0
m 101 7 S 1 1 0
e 102 1
d 5000000 7 S 0 transport close
b 5100000 1
c 5200000 7 S 1 0 0 1
s 5300000 2 7 1 S 1 0
m 5300001 7 S 1 2 1
e 5300002 2
d 9000000 7 S 0 client disconnect
"""
CLIENT = """\
o 20 7 S 1 0
> 90 7 0 S
a 110 7 0
v 111 7 S 0 50 1 1
p 4900000 7 S
o 5250000 7 S 1 1
n 5250001 7 S 50 1
> 5290000 7 1 S
a 5300003 7 1
v 5300004 7 S 1 50 1 2
q 8000000 7 S
"""
BREAKS = Allowed(breaks=True)


def verdict(tmp_path: Path, app: str = APP, client: str = CLIENT) -> Verdict:
    (tmp_path / "app-50.txt").write_text(app)
    (tmp_path / "clients-0.txt").write_text(client)
    return judge(read(tmp_path), BREAKS)


def wrong(found: Verdict) -> dict[str, int]:
    return {column: getattr(found, column) for column in COLUMNS if getattr(found, column)}


def changed(text: str, line: str, to: str = "") -> str:
    assert line + "\n" in text
    return text.replace(line + "\n", to, 1)


def test_a_client_that_came_back(tmp_path: Path) -> None:
    """It was without service from the break to the first answer after it, although it has the same sid."""
    found = verdict(tmp_path)
    assert wrong(found) == {}
    assert broken_promises(found, BREAKS) == []
    assert (found.connections_broken, found.given_back, found.redelivered) == (1, 1, 0)
    assert found.away_max_ms == 400.003


@pytest.mark.parametrize("line", ["n 5250001 7 S 50 1", "v 5300004 7 S 1 50 1 2"])
def test_it_must_get_what_it_missed(tmp_path: Path, line: str) -> None:
    assert wrong(verdict(tmp_path, client=changed(CLIENT, line))) == {"emits_lost": 1}


def test_what_it_missed_comes_once(tmp_path: Path) -> None:
    assert wrong(verdict(tmp_path, client=CLIENT + "n 5250002 7 S 50 1\n")) == {"emits_doubled": 1}


def test_what_was_said_right_before_the_break_is_lost_with_the_session_alone(tmp_path: Path) -> None:
    app = APP + "s 4850000 3 7 9 S 1 0\nm 4850001 7 S 1 3 9\ne 4850002 3\n"
    client = CLIENT + "> 4849000 7 9 S\n"
    assert wrong(verdict(tmp_path, app, client)) == {"emits_lost": 1, "events_reordered": 1}
    gone = client[: client.index("o 5250000")] + "> 4849000 7 9 S\n"
    assert wrong(verdict(tmp_path, app[: app.index("c 5200000")] + app[app.index("s 4850000") :], gone)) == {}


def test_what_it_sent_right_before_the_break_may_not_have_arrived(tmp_path: Path) -> None:
    """Whether it came back or not. What it sent long before must have."""
    assert wrong(verdict(tmp_path, client=CLIENT + "> 4000000 7 2 S\n")) == {}
    assert wrong(verdict(tmp_path, client=CLIENT + "> 3800000 7 2 S\n")) == {"events_lost": 1, "acks_missing": 1}
    assert wrong(verdict(tmp_path, client=CLIENT + "> 6000000 7 2 S\n")) == {"events_lost": 1, "acks_missing": 1}


def test_a_session_that_was_not_given_back(tmp_path: Path) -> None:
    """It counts for a client that had a pid. Its new session, and the old one, have a disconnect each."""
    app = changed(APP, "c 5200000 7 S 1 0 0 1", "c 5200000 7 T 1 0 0 0\n").replace(" 7 S 1 2 1", " 7 T 1 1 1")
    app = app.replace("2 7 1 S", "2 7 1 T").replace("d 9000000 7 S", "d 9000000 7 T")
    head, _, tail = CLIENT.partition("o 5250000 7 S 1 1\n")
    client = head + "o 5250000 7 T 1 0\n" + tail.replace(" S", " T").replace("50 1 2", "50 1 1")
    assert wrong(verdict(tmp_path, app, client)) == {"sessions_lost": 1}
    assert wrong(verdict(tmp_path, app, client.replace("o 20 7 S 1 0", "o 20 7 S 0 0"))) == {}
    silent = changed(app, "d 5000000 7 S 0 transport close")
    assert wrong(verdict(tmp_path, silent, client)) == {"sessions_lost": 1, "disconnects_missing": 1}


def test_connects_and_disconnects_take_turns(tmp_path: Path) -> None:
    late = changed(APP, "d 5000000 7 S 0 transport close", "d 5200010 7 S 0 transport close\n")
    assert wrong(verdict(tmp_path, late)) == {"lives_reordered": 1}
    missing = changed(APP, "d 5000000 7 S 0 transport close")
    assert wrong(verdict(tmp_path, missing)) == {"disconnects_missing": 1, "lives_reordered": 1}
    twice = APP + "d 9000001 7 S 0 node lost\n"
    assert wrong(verdict(tmp_path, twice)) == {"disconnects_doubled": 1, "lives_reordered": 1}


def test_a_return_that_broke_before_the_client_knew(tmp_path: Path) -> None:
    """The application heard of one life more than the client."""
    more = "c 5150000 7 S 1 0 0 1\nd 5160000 7 S 0 transport close\n"
    assert wrong(verdict(tmp_path, APP.replace("c 5200000", more + "c 5200000"))) == {}
    again = APP + "d 9000001 7 S 1 client disconnect\n"
    found = verdict(tmp_path, again)
    assert (wrong(found), found.redelivered) == ({}, 1)
