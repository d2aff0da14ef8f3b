"""Questions of app-nodes about who is connected, and who is in which room, while nodes die around them."""

import asyncio
from pathlib import Path

import pytest
from tests.chaos.checker import Asked, check_answers
from tests.chaos.cluster import NODE_TIMEOUT_S
from tests.chaos.field import field
from tests.chaos.limits import Missed, check
from tests.chaos.records import read

QUICK_MS = 50.0
"""Half of the answers come within this. On a machine with processors to spare nearly all of them do."""
LEAST_WAIT_MS = 1000 * NODE_TIMEOUT_S
"""Whoever asked nodes would wait so long for one that is dead."""
RATE = 2.0
"""Events a second and client: few, so that the machine is no busier than it must be."""


@pytest.mark.chaos
@pytest.mark.alone
@pytest.mark.timeout(150)
async def test_nodes_die(seed: int) -> None:
    """No question fails, each answer is right, and none waits for a node that is dead or stands still."""
    env = {"CHAOS_ASKS": "1"}
    async with field("questions while nodes die", seed, io_nodes=3, app_nodes=3, rate=RATE, paced=False, env=env) as it:
        await it.wait_a_moment()
        it.kill(it.rng.choice(it.stack.app_nodes))
        await it.calm(10)
        first, second = it.rng.sample(it.stack.io_nodes, 2)
        old = first.pid
        it.kill(first)
        await it.crowd.all_in(20)
        await it.until_serves_anew(first, old, 20)
        it.pause(second)
        await asyncio.sleep(1.5)
        it.resume(second)
        await it.crowd.progress(5, 30)
        await it.end(breaks=True, redelivered=True, gap_s=4, away_s=6)
        assert it.asked.questions > 500
        limits = {"p50": (it.asked.p50_ms, QUICK_MS), "max": (it.asked.max_ms, LEAST_WAIT_MS)}
        missed = [
            Missed(f"questions: {name} {ms:.0f} ms, the limit is {limit:.0f}")
            for name, (ms, limit) in limits.items() if ms >= limit
        ]  # fmt: skip
        check(it.name, [], missed)


APP = """\
c 10 7 S 1 0 0 0
c 11 10 T 1 0 0 0
k 2000110 count 20 2
k 2000111 watched 20 1
k 2000112 clients 20 T
k 2000113 all_rooms 20 1
d 4000100 7 S 0 client disconnect
d 4000110 10 T 0 client disconnect
k 4000120 count 20 2
k 9000000 count 20 0
k 9000001 clients 20
"""
CLIENTS = "o 20 7 S 0 0\no 21 10 T 0 0\nq 4000050 7 S\nq 4000051 10 T\n"


def asked(tmp_path: Path, *more: str, without: str = "") -> Asked:
    """Client 10 is watched, client 7 is not. `more`: lines of the app-node."""
    assert without in APP
    (tmp_path / "app-50.txt").write_text(APP.replace(without, "", 1) + "".join(f"{line}\n" for line in more))
    (tmp_path / "clients-0.txt").write_text(CLIENTS)
    return check_answers(read(tmp_path))


def test_right_answers(tmp_path: Path) -> None:
    found = asked(tmp_path)
    assert (found.questions, found.failed, found.wrong, found.problems()) == (7, 0, 0, [])
    assert (found.p50_ms, found.max_ms) == (0.02, 0.02)


@pytest.mark.parametrize(
    "line",
    [
        "k 2000200 count 20 1", "k 2000200 count 20 3", "k 2000200 watched 20 0", "k 2000200 watched 20 2",
        "k 2000200 all_rooms 20 2", "k 2000200 clients 20 ", "k 2000200 clients 20 S,T", "k 9000000 count 20 1",
        "k 9000000 clients 20 T", "k 9 count 5 1",
    ],
)  # fmt: skip
def test_wrong_answers(tmp_path: Path, line: str) -> None:
    found = asked(tmp_path, line)
    assert (found.failed, found.wrong) == (0, 1)
    assert "1 were answered wrongly" in found.problems()[0]


@pytest.mark.parametrize(
    "line", ["k 9 count 5 0", "k 12 count 5 0", "k 900000 count 5 1", "k 12 count 5 2", "k 4000300 count 50 1"]
)
def test_what_changes_meanwhile_may_count_or_not(tmp_path: Path, line: str) -> None:
    """A client that is being let in, and one whose disconnect is being handled."""
    assert asked(tmp_path, line).problems() == []


def test_a_question_that_fails(tmp_path: Path) -> None:
    found = asked(tmp_path, "K 2000200 count 20 BusUnavailable('Redis is away')")
    assert (found.failed, found.wrong) == (1, 0)
    assert "BusUnavailable('Redis is away')" in found.problems()[0]


def test_where_nobody_asks_there_is_nothing_to_judge(tmp_path: Path) -> None:
    (tmp_path / "app-50.txt").write_text("c 10 10 T 1 0 0 0\n")
    assert check_answers(read(tmp_path)) == Asked()
