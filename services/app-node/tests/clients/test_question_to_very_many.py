"""A question to 100,000 clients: no step of it holds the app-node up for 50 ms, by its CPU time."""

import time
from collections.abc import Callable

import pytest

from app_node.clients.question import Question
from sio_cluster.protocol.messages import AckExpected

pytestmark = [pytest.mark.slow, pytest.mark.alone]

CLIENTS, PART = 100_000, 1_000
STALL_S = 0.05
IO1 = "io1-aaaaaa"
SIDS = [f"{IO1}.{number:016d}" for number in range(CLIENTS)]


def asked() -> Question:
    question, parts = Question(), CLIENTS // PART
    question.sent([IO1])
    for part in range(parts):
        sids = SIDS[part * PART : (part + 1) * PART]
        question.expected(IO1, AckExpected(IO1, 5, sids, [], [], part, parts))
    return question


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda question: question.give_up(lambda node: False, ()), "timeout"),
        (lambda question: question.give_up(lambda node: True, ()), "node lost"),
        (lambda question: question.lost(IO1), "node lost"),
    ],
)
def test_none_of_them_answers(end: Callable[[Question], None], why: str) -> None:
    times = []
    for _ in range(3):
        question = asked()
        began = time.thread_time()
        end(question)
        times.append(time.thread_time() - began)
        assert question.missing == dict.fromkeys(SIDS, why)
        assert question.complete
    assert min(times) < STALL_S, times
