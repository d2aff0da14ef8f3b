"""What a scenario of recovery knows of its clients while it runs, and how its results are shown."""

from pathlib import Path

from tests.chaos.results import figures, quotable, tables
from tests.chaos.scene import Connections, ended_early

ROW = {
    "scenario": "recovery, made up", "kind": "recovery", "problems": ["lost: 1, as ['7 missed 3']"], "pace": 0.5,
    "clients": 200, "emits": 900, "seconds": 9.0, "messages": 3600, "broken": 70, "recovered": 69, "lost": 1,
    "doubled": 0, "reordered": 0, "away_p50_ms": 800.4, "away_max_ms": 2000.6,
}  # fmt: skip


def test_connections_are_read_on_from_where_they_were(tmp_path: Path) -> None:
    """A line that is half written counts when it is whole."""
    file, its = tmp_path / "clients-0.txt", Connections(tmp_path)
    file.write_text("o 1 7 io1-a.S 0\nv 2 7 io1-a.S 5:all 1\no 3 8 io2-b.T 0\np 4 7 io1")
    its.look()
    assert (its.connected, its.broken) == ({7, 8}, 0)
    with file.open("a") as more:
        more.write("-a.S transport_close\no 5 7 io1-a.S 1\np 6 8 io2-b.T transport_close\n")
    its.look()
    assert (its.connected, its.broken) == ({7}, 2)
    assert its.sids == {7: "io1-a.S", 8: "io2-b.T"}


def test_connections_that_ended_before_anything_was_done_are_a_limit_that_was_missed(tmp_path: Path) -> None:
    """The scenario is tried once more then: such sessions are in their rooms until their time is over."""
    file = tmp_path / "app-1.txt"
    file.write_text("b 1 1\nc 2 7 io1-a.S 0 0 0\n")
    assert ended_early(tmp_path) == []
    with file.open("a") as more:
        more.write("d 3 7 io1-a.S 0 ping timeout\nc 4 7 io2-b.T 0 0 0\n")
    [missed] = ended_early(tmp_path)
    assert "1 connections ended before anything was done" in missed.what
    assert "ping timeout" in missed.what


def test_a_row_is_shown_and_quoted_by_its_kind() -> None:
    assert figures(ROW) == (
        "200 clients, 900 emits (100/s at 50% of the full pace), 3600 messages, 70 broken, 69 given back, "
        "away p50 800 ms max 2001 ms: lost: 1"
    )
    assert "lost: 1" in tables([ROW], 42)
    assert quotable([ROW], "recovery").splitlines()[-1] == (
        "| recovery, made up | 900 | 3600 | 70 | 69 | 1 | 0 | 0 | 800 | 2001 |"
    )
    assert quotable([ROW], "load").count("\n") == 2  # the heading alone
