"""Who is expected to answer a question to many, in whatever order one hears of it."""

import random

import pytest

from app_node.clients.question import Question
from sio_cluster.protocol.messages import AckExpected

ONE, TWO, THREE = "io1-aaaaaa", "io2-bbbbbb", "io3-cccccc"
ACK = 7


def sid(node: str, letter: str) -> str:
    return f"{node}.{letter * 16}"


ANN, BOB, EVE = sid(ONE, "a"), sid(ONE, "b"), sid(TWO, "e")


def alive(node: str) -> bool:
    return False


def test_nobody_is_asked() -> None:
    question = Question()
    assert not question.complete
    question.sent([ONE, TWO])
    question.expected(ONE, AckExpected(ONE, ACK, []))
    assert not question.complete
    question.expected(TWO, AckExpected(TWO, ACK, []))
    assert question.complete
    assert question.missing == {}


def test_it_ends_with_the_last_one_that_is_known() -> None:
    question = Question()
    question.sent([ONE])
    question.expected(ONE, AckExpected(ONE, ACK, [ANN, BOB]))
    assert question.answered(ANN)
    assert not question.complete
    question.missed(BOB)
    assert question.complete
    assert question.missing == {BOB: "disconnected"}


def test_what_comes_before_it_is_known_where_it_went() -> None:
    question = Question()
    question.expected(ONE, AckExpected(ONE, ACK, [ANN]))
    assert question.answered(ANN)
    assert not question.complete
    question.sent([ONE])
    assert question.complete


def test_an_answer_counts_once() -> None:
    question = Question()
    question.sent([ONE])
    assert question.answered(ANN)
    question.expected(ONE, AckExpected(ONE, ACK, [ANN]))
    assert not question.answered(ANN)
    question.missed(ANN)
    assert question.complete
    assert question.missing == {}


def test_all_parts_must_come() -> None:
    question = Question()
    question.sent([ONE])
    question.expected(ONE, AckExpected(ONE, ACK, [BOB], part=1, parts=2))
    question.expected(ONE, AckExpected(ONE, ACK, [BOB], part=1, parts=2))
    question.missed(BOB)
    assert not question.complete
    question.expected(ONE, AckExpected(ONE, ACK, [ANN], part=0, parts=2))
    question.missed(ANN)
    assert question.complete


def test_one_at_another_io_node_is_waited_for_until_that_one_speaks() -> None:
    question = Question()
    question.sent([ONE, TWO])
    question.expected(ONE, AckExpected(ONE, ACK, [BOB], elsewhere=[ANN]))
    question.expected(TWO, AckExpected(TWO, ACK, [EVE]))
    question.missed(BOB)
    question.answered(EVE)
    assert not question.complete
    assert list(question.unconfirmed) == [ANN]
    question.held_by(ANN, TWO)
    question.expected(TWO, AckExpected(ONE, ACK, [ANN]))
    assert not question.unconfirmed
    question.lost(TWO)
    assert question.missing == {BOB: "disconnected", ANN: "node lost"}
    assert question.complete


def test_one_at_another_io_node_that_did_not_ask_it() -> None:
    question = Question()
    question.sent([ONE])
    question.expected(ONE, AckExpected(ONE, ACK, [], elsewhere=[ANN]))
    question.held_by(ANN, TWO)
    question.expected(TWO, AckExpected(ONE, ACK, []))
    assert question.missing == {ANN: "disconnected"}


def test_one_that_came_back_is_not_counted_twice() -> None:
    """Asked here, it left, and is asked by nobody: it answers no more. Or it is asked there, which says more."""
    question = Question()
    question.sent([ONE])
    question.expected(TWO, AckExpected(ONE, ACK, [ANN]))
    question.expected(ONE, AckExpected(ONE, ACK, [], elsewhere=[ANN], away=[BOB]))
    assert not question.complete
    question.expected(ONE, AckExpected(ONE, ACK, [], away=[ANN]))  # what says less changes nothing
    assert question.missing == {BOB: "disconnected"}
    question.answered(ANN)
    assert question.complete


def test_a_home_that_dies_before_it_speaks() -> None:
    question = Question()
    question.sent([ONE, TWO])
    question.expected(TWO, AckExpected(ONE, ACK, []))
    question.expected(TWO, AckExpected(TWO, ACK, []))
    assert question.nodes == {ONE}
    question.lost(ONE)
    question.speechless(ONE)
    assert not question.complete
    question.found(ANN, ONE, "lost", away=True)  # its burial has come to it
    question.found(BOB, TWO, "lost", away=False)  # it came to TWO after the question
    question.read(ONE)
    assert question.complete
    assert question.missing == {ANN: "node lost", BOB: "disconnected"}


def test_a_parked_home() -> None:
    question = Question()
    question.sent([ONE])
    question.speechless(ONE)
    third, fourth = sid(ONE, "c"), sid(ONE, "d")
    question.found(ANN, ONE, "parked", away=True)
    question.found(BOB, TWO, "parked", away=False)
    question.found(third, ONE, "parked", away=False)
    question.found(fourth, THREE, "parked", away=False)
    question.read(ONE)
    assert question.nodes == {TWO, THREE}
    question.expected(TWO, AckExpected(ONE, ACK, [BOB]))
    question.answered(BOB)
    question.lost(THREE)
    assert question.complete
    assert question.missing == {ANN: "disconnected", third: "node lost", fourth: "node lost"}


def test_the_time_is_over() -> None:
    question = Question()
    question.sent([ONE, TWO, THREE])
    question.expected(ONE, AckExpected(ONE, ACK, [ANN], elsewhere=[BOB]))
    question.expected(TWO, AckExpected(TWO, ACK, [EVE]))
    silent = sid(THREE, "s")
    question.found(silent, THREE, "silent", away=False)
    question.found(sid(THREE, "t"), THREE, "silent", away=True)
    question.give_up(lambda node: node == TWO, named=[silent, sid(ONE, "n")])
    assert question.complete
    assert question.missing == {
        ANN: "timeout",
        BOB: "timeout",
        EVE: "node lost",
        silent: "timeout",
        sid(THREE, "t"): "disconnected",
        sid(ONE, "n"): "disconnected",
    }


@pytest.mark.parametrize("seed", range(200))
def test_any_order_and_repetition(seed: int) -> None:
    """What one io-node says comes in its order, and may come again. Those of several come in any order."""
    rnd = random.Random(seed)
    nodes = [ONE, TWO, THREE]
    answers: set[str] = set()
    leavers: set[str] = set()
    away: set[str] = set()
    moved: dict[str, str] = {}
    said: dict[str, list[tuple[str, object]]] = {node: [] for node in nodes}
    for home in nodes:
        here: dict[str, list[str]] = {node: [] for node in nodes}
        for number in range(rnd.randrange(6)):
            one = sid(home, "abcdef"[number])
            match rnd.randrange(4):
                case 0:
                    away.add(one)
                case 1:
                    moved[one] = rnd.choice([node for node in nodes if node != home])
                    here[moved[one]].append(one)
                case _:
                    here[home].append(one)
            if one not in away:
                (answers if rnd.random() < 0.5 else leavers).add(one)
        for node in nodes:
            of_home = {one for one in moved if one.startswith(home)} if node == home else set()
            gone = {one for one in away if one.startswith(home)} if node == home else set()
            if node == home or here[node]:
                parts = 1 + rnd.randrange(2)
                for part in range(parts):
                    message = AckExpected(
                        home, ACK, here[node][part::parts], sorted(of_home)[part::parts], sorted(gone)[part::parts],
                        part, parts,
                    )  # fmt: skip
                    said[node].append(("expected", message))
    for one in [*answers, *leavers]:
        holder = moved.get(one) or one.partition(".")[0]
        said[holder].append(("answered" if one in answers else "missed", one))
    question, sent_at = Question(), rnd.randrange(8)
    repeated: list[tuple[str, str, object]] = []
    while any(said.values()):
        if sent_at == 0:
            question.sent(nodes)
        sent_at -= 1
        assert not question.complete
        node = rnd.choice([node for node in nodes if said[node]])
        kind, what = said[node].pop(0)
        for kind_, node_, what_ in [(kind, node, what), *rnd.sample(repeated, min(2, len(repeated)))]:
            match what_:
                case AckExpected():
                    question.expected(node_, what_)
                case str():
                    question.answered(what_) if kind_ == "answered" else question.missed(what_)
        repeated.append((kind, node, what))
    if sent_at >= 0:
        question.sent(nodes)
    assert question.complete
    assert question.missing == dict.fromkeys([*leavers, *away], "disconnected")
