"""Whom a question to many reaches, as a hub says it to the app-node that wants to know."""

import dataclasses

import pytest

from io_node.socketio.asked import PART_SIDS, AskedMany
from io_node.socketio.hub import Hub
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Accept, AckRequest, Emit, Join, Refuse, Room

from .fakes import LIMITS, Node
from .test_recovering import OLD, WINDOW_MS, joined
from .test_unanswerable import NOBODY, Adopting


@pytest.fixture
def node() -> Node:
    node = Node(dataclasses.replace(LIMITS, recovery_window_ms=WINDOW_MS))
    node.hub.begin(b"5-0")
    return node


def ask(
    hub: Hub, to: list[Room] | None, ack_id: int = 5, *, skip: tuple[str, ...] = (), but: tuple[Room, ...] = ()
) -> None:
    request = AckRequest("app1-bbbbbb", ack_id, is_call=True, hears_missed=True, names_asked=True)
    hub.execute([Emit("/", b'2%d["q"]' % ack_id, to=to, skip=list(skip), ack=request, except_rooms=list(but))])


def whom(here: list[str], elsewhere: list[str], away: list[str]) -> list[tuple[int, AskedMany]]:
    return [(5, AskedMany(here, elsewhere, away))]


def test_each_member_is_named_once_and_who_is_skipped_is_not(node: Node) -> None:
    sids = [joined(node)[1] for _ in range(4)]
    node.hub.execute([Join(sid, room) for sid in sids[:3] for room in ("red", 1)])
    ask(node.hub, ["red", 1, sids[0]], skip=(sids[1],))
    assert node.asked == whom([sids[0], sids[2]], [], [])


def test_who_is_in_a_room_that_is_excepted_is_neither_asked_nor_away(node: Node) -> None:
    """Whether its client is connected, or may come back."""
    (_, ann), (_, bob), (gone, eve) = joined(node), joined(node), joined(node)
    node.hub.execute([Join(sid, "red") for sid in (ann, bob, eve)])
    node.hub.execute([Join(bob, "blue"), Join(eve, 1)])
    gone.close(reasons.TRANSPORT_CLOSE)
    questions: list[list[Room] | None] = [None, ["red"], [ann, bob, eve]]
    for to in questions:
        node.asked.clear()
        ask(node.hub, to, but=("blue", 1))
        assert node.asked == whom([ann], [], [])
    node.asked.clear()
    ask(node.hub, ["red"], but=("blue",))
    assert node.asked == whom([ann], [], [eve])


@pytest.mark.parametrize("to", [None, ["red"], [NOBODY]])
def test_nobody_is_said_too(node: Node, to: list[Room] | None) -> None:
    """Else the app-node would wait for this node."""
    ask(node.hub, to)
    assert node.asked == whom([], [], [])
    assert node.unanswerable == []


def test_who_leaves_without_an_answer_is_told_of_and_who_answered_is_not(node: Node) -> None:
    (one, first), (two, second), (_, third) = joined(node), joined(node), joined(node)
    ask(node.hub, None)
    node.receive(two, "35[]")
    one.close(reasons.TRANSPORT_CLOSE)
    two.close(reasons.TRANSPORT_CLOSE)
    assert node.asked == whom([first, second, third], [], [])
    assert node.unanswerable == [(first, 5)]


def test_one_that_leaves_while_it_is_asked_is_named_before(node: Node) -> None:
    connection, sid = joined(node)
    connection.close_on_send = True
    ask(node.hub, None)
    assert node.asked == whom([sid], [], [])
    assert node.unanswerable == [(sid, 5)]


def test_one_that_is_pending_is_asked_and_gone_if_it_is_refused(node: Node) -> None:
    sid = node.pending(node.connect())
    ask(node.hub, None)
    node.hub.execute([Refuse(sid, b"{}")])
    assert node.asked == whom([sid], [], [])
    assert node.unanswerable == [(sid, 5)]


def test_who_is_away_is_not_asked(node: Node) -> None:
    connection, sid = joined(node)
    node.hub.execute([Join(sid, "red")])
    connection.close(reasons.TRANSPORT_CLOSE)
    questions: list[list[Room] | None] = [None, ["red"], [sid]]
    for to in questions:
        node.asked.clear()
        ask(node.hub, to)
        assert node.asked == whom([], [], [sid])
    node.asked.clear()
    ask(node.hub, ["blue"])
    ask(node.hub, None, skip=(sid,))
    assert node.asked == whom([], [], []) * 2
    node.hub.execute([Join(sid, "blue")])  # rooms of who is away change too
    node.asked.clear()
    ask(node.hub, ["blue"])
    assert node.asked == whom([], [], [sid])


def test_one_that_was_let_in_elsewhere_is_asked_there(node: Node) -> None:
    connection, sid = joined(node)
    connection.close(reasons.TRANSPORT_CLOSE)
    node.hub.execute([Accept(sid, 1)])
    ask(node.hub, None)
    assert node.asked == whom([], [sid], [])


def test_the_hub_of_another_home_speaks_for_whom_it_held_last(node: Node) -> None:
    other = Adopting(node)
    ask(other.hub, [OLD])
    assert other.asked == whom([], [], [])
    connection, _ = other.come(1)
    other.asked.clear()
    ask(other.hub, [OLD])  # it is not let in yet: the home's own io-node says that it is away
    assert other.asked == whom([], [], [])
    other.hub.execute([Accept(OLD, 1)])
    other.asked.clear()
    ask(other.hub, [OLD])
    assert other.asked == whom([OLD], [], [])
    connection.close(reasons.TRANSPORT_CLOSE)
    other.asked.clear()
    ask(other.hub, [OLD])
    assert other.asked == whom([], [], [OLD])
    other.hub.execute([Accept(OLD, 2)])
    other.asked.clear()
    ask(other.hub, [OLD])
    assert other.asked == whom([], [], [])


def test_many_are_named_in_parts() -> None:
    here = [f"s{number}" for number in range(2 * PART_SIDS + 1)]
    away = [f"a{number}" for number in range(PART_SIDS + 1)]
    messages = list(AskedMany(here, ["e"], away).messages("io1-aaaaaa", 5))
    assert [(one.home, one.ack_id, one.part, one.parts) for one in messages] == [
        ("io1-aaaaaa", 5, n, 3) for n in range(3)
    ]
    assert [sid for one in messages for sid in one.sids] == here
    assert [sid for one in messages for sid in one.elsewhere] == ["e"]
    assert [sid for one in messages for sid in one.away] == away
    assert max(len(one.sids) for one in messages) == PART_SIDS
    assert len(list(AskedMany([], [], []).messages("io1-aaaaaa", 5))) == 1
