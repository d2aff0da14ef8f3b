"""The checker of connection state recovery against records made by hand: each fault shows, and nothing else does."""

from pathlib import Path

import pytest
from tests.chaos.streams import FAULTS, Seen, breaks, faults, interrupted, look

APP = "c 1 7 S 0 0 0\nd 50 7 S 0 transport close\nc 60 7 S 0 1 0\ne 99 5:all 4\ne 99 5:skip:7 2\n"
CLIENT = """\
o 2 7 S 0
v 10 7 S 5:all 1
v 11 7 S 5:all 2
v 12 7 S 5:skip:7 1
p 49 7 S transport_close
o 61 7 S 1
v 62 7 S 5:all 3
v 63 7 S 5:all 4
v 64 7 S 5:skip:7 2
"""


def seen(directory: Path, app: str = APP, client: str = CLIENT, skipped_below: int = 0) -> Seen:
    (directory / "app-5.txt").write_text(app)
    (directory / "clients-0.txt").write_text(client)
    return look(directory, skipped_below=skipped_below, window_s=30)


def counts(found: Seen) -> dict[str, int]:
    return {name: getattr(found, name) for name in FAULTS if getattr(found, name)}


def test_a_session_that_was_given_back_whole(tmp_path: Path) -> None:
    found = seen(tmp_path)
    assert counts(found) == {}
    assert faults(found) == []
    assert (found.clients, found.emits, found.messages, found.broken, found.recovered) == (1, 6, 6, 1, 1)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("o 61 7 S 1", "o 61 7 T 0", {"fresh": 1}),
        ("v 62 7 S 5:all 3\n", "", {"lost": 1}),
        ("v 63 7 S 5:all 4\n", "", {"lost": 1}),
        ("v 62 7 S 5:all 3\n", "v 61 7 S 5:all 2\nv 62 7 S 5:all 3\n", {"doubled": 1}),
        ("v 62 7 S 5:all 3\nv 63 7 S 5:all 4\n", "v 62 7 S 5:all 4\nv 63 7 S 5:all 3\n", {"lost": 1, "reordered": 1}),
    ],
)
def test_what_a_client_did_not_get_as_it_should(tmp_path: Path, old: str, new: str, expected: dict[str, int]) -> None:
    found = seen(tmp_path, client=CLIENT.replace(old, new))
    assert counts(found) == expected
    assert faults(found)


def test_who_was_skipped_misses_nothing(tmp_path: Path) -> None:
    client = CLIENT.replace("v 12 7 S 5:skip:7 1\n", "").replace("v 64 7 S 5:skip:7 2\n", "v 64 7 S 5:skip:7 1\n")
    assert counts(seen(tmp_path, client=client)) == {"lost": 1}
    assert counts(seen(tmp_path, client=client, skipped_below=8)) == {}


def test_the_end_of_a_stream_whose_app_node_was_killed_is_what_anybody_got(tmp_path: Path) -> None:
    app = APP.replace("e 99 5:all 4\n", "")
    assert counts(seen(tmp_path, app)) == {}
    short = CLIENT + "o 2 8 U 0\nv 10 8 U 5:all 2\nv 11 8 U 5:all 3\n"
    assert counts(seen(tmp_path, app, short)) == {"lost": 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [("d 50 7 S 0 transport close\n", ""), ("c 60 7 S 0 1 0\n", "c 60 7 S 0 1 0\nc 61 7 S 0 1 0\n")],
)
def test_connects_and_disconnects_take_turns(tmp_path: Path, old: str, new: str) -> None:
    assert counts(seen(tmp_path, APP.replace(old, new))) == {"alternation": 1}


def test_what_a_restarted_app_node_runs_again_is_no_turn(tmp_path: Path) -> None:
    again = APP + "c 70 7 S 1 0 0\nc 71 7 S 0 1 1\nd 72 7 S 1 transport close\n"
    assert counts(seen(tmp_path, again)) == {}


def test_a_redelivery_may_be_the_first_that_is_handled(tmp_path: Path) -> None:
    """An app-node read the connect, and lost its lane before the handler began."""
    assert counts(seen(tmp_path, APP.replace("c 60 7 S 0 1 0", "c 60 7 S 0 1 1") + "d 90 7 S 0 gone\n")) == {}
    assert counts(seen(tmp_path, APP.replace("d 50 7 S 0", "d 50 7 S 1"))) == {}
    assert counts(seen(tmp_path, APP + "c 70 7 S 0 1 1\nc 71 7 S 0 1 0\n")) == {"alternation": 1}


def test_who_was_away_for_longer_than_the_window_is_late_and_not_judged(tmp_path: Path) -> None:
    """31 s away, where 30 s are promised."""
    late = CLIENT.replace("o 61 7 S 1", "o 31000061 7 T 0").replace("v 62 7 S 5:all 3\n", "")
    found = seen(tmp_path, client=late)
    assert counts(found) == {}
    assert (found.late, found.recovered) == (1, 0)
    assert (found.longest.since, found.longest.to) == (49, 31_000_061)


def test_with_late_notice_a_session_has_one_disconnect_however_often_its_client_was_back(tmp_path: Path) -> None:
    app = APP.replace("d 50 7 S 0 transport close\n", "") + "d 90 7 S 0 client namespace disconnect\n"
    (tmp_path / "clients-0.txt").write_text(CLIENT)
    (tmp_path / "app-5.txt").write_text(app)
    found = look(tmp_path, skipped_below=0, window_s=30, notice="late")
    assert counts(found) == {}
    assert [(told.at, told.sid, told.reason) for told in found.disconnects] == [
        (90, "S", "client namespace disconnect")
    ]
    (tmp_path / "app-5.txt").write_text(app + APP)
    assert counts(look(tmp_path, skipped_below=0, window_s=30, notice="late")) == {"alternation": 1}


def test_who_does_not_mean_to_come_back_need_not_have_the_end(tmp_path: Path) -> None:
    client = CLIENT[: CLIENT.index("o 61")]
    assert counts(seen(tmp_path, client=client)) == {"lost": 2}
    assert counts(look(tmp_path, skipped_below=0, window_s=30, gone={7})) == {}


def test_a_fault_says_when_it_came_about(tmp_path: Path) -> None:
    """From the break of the connection to the message that shows it."""
    found = seen(tmp_path, client=CLIENT.replace("v 62 7 S 5:all 3\n", ""))
    assert found.found["lost"] == [(49, 63, "client 7: 4 of 5:all after 2")]


def test_a_replay_that_was_cut_short(tmp_path: Path) -> None:
    cut = "v 62 7 S 5:few 1\nv 62 7 S 6:few 1\np 65 7 S transport_close\no 70 7 S 1\nv 71 7 S 5:few 2\n"
    seen(tmp_path, client=CLIENT + cut)
    assert breaks(tmp_path, 7) == [49, 65]
    assert interrupted(tmp_path, "few") == {7: (2, 1)}
    seen(tmp_path, client=CLIENT + cut[: cut.index("v 71")])
    assert interrupted(tmp_path, "few") == {}
