"""Questions to clients that are not there, or leave before they have answered."""

import dataclasses

import msgspec
import pytest

from io_node.socketio.absent import Absent
from io_node.socketio.asked import AskedMany
from io_node.socketio.client import Client
from io_node.socketio.hub import Hub
from io_node.turns import Turns
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import Accept, AckRequest, Disconnect, Emit, Evict, Join, Refuse, Room
from sio_cluster.protocol.recovery import hash_of

from .fakes import LANES, LIMITS, NODE, FakeConnection, Node
from .test_recovering import BROWSER, OLD, PID, WINDOW_MS, FakeReplay, claimed, joined

NOBODY = f"{NODE}.ffffffffffffffff"


@pytest.fixture
def node() -> Node:
    node = Node(dataclasses.replace(LIMITS, recovery_window_ms=WINDOW_MS))
    node.hub.begin(b"5-0")
    return node


def ask(hub: Hub, to: list[Room] | None, ack_id: int = 5, *, skip: tuple[str, ...] = (), is_call: bool = True) -> None:
    request = AckRequest("app1-bbbbbb", ack_id, is_call, hears_missed=True)
    hub.execute([Emit("/", b'2%d["q"]' % ack_id, to=to, skip=list(skip), ack=request)])


@pytest.mark.parametrize("reason", [reasons.TRANSPORT_CLOSE, reasons.PARSE_ERROR, reasons.PING_TIMEOUT])
def test_who_leaves_owes_nothing_any_more(node: Node, reason: str) -> None:
    connection, sid = joined(node)
    ask(node.hub, [sid], 5)
    ask(node.hub, [sid], 6, is_call=False)
    ask(node.hub, [sid], 7)
    ask(node.hub, None, 8)
    node.receive(connection, "36[]")
    assert node.unanswerable == []
    connection.close(reason)
    assert sorted(node.unanswerable) == [(sid, 5), (sid, 7)]


@pytest.mark.parametrize("close", [False, True])
def test_one_that_the_application_disconnects(node: Node, close: bool) -> None:
    _, sid = joined(node)
    ask(node.hub, [sid])
    node.hub.execute([Disconnect(sid, close)])
    assert node.unanswerable == [(sid, 5)]


def test_one_that_was_asked_while_it_was_pending(node: Node) -> None:
    connection = node.connect()
    sid = node.pending(connection)
    ask(node.hub, [sid])
    assert node.unanswerable == []
    node.hub.execute([Refuse(sid, b"{}")])
    assert node.unanswerable == [(sid, 5)]


@pytest.mark.parametrize("reason", [reasons.TRANSPORT_CLOSE, reasons.PARSE_ERROR])
def test_one_that_has_left(node: Node, reason: str) -> None:
    connection, sid = joined(node)
    connection.close(reason)
    ask(node.hub, [sid])
    ask(node.hub, [NOBODY], 6)
    assert node.unanswerable == [(sid, 5), (NOBODY, 6)]


def test_nobody_speaks_for_a_room(node: Node) -> None:
    _, sid = joined(node)
    several: list[list[Room] | None] = [None, [], ["room"], [7], [NOBODY, sid, "room"], [NOBODY, NOBODY]]
    for to in several:
        ask(node.hub, to)
    ask(node.hub, [sid], skip=(sid,))
    node.hub.execute([Emit("/", b'2["not a question"]', to=[NOBODY])])
    assert node.unanswerable == []


def test_one_that_is_in_another_namespace_is_not_in_this_one(node: Node) -> None:
    connection = node.connect()
    sid = node.pending(connection, "/custom")
    node.hub.execute([Accept(sid)])
    ask(node.hub, [sid])
    assert node.unanswerable == [(sid, 5)]


def test_one_that_is_coming_back_is_not_there_yet(node: Node) -> None:
    """What was asked before it is let in is not asked again."""
    _, client = claimed(node, FakeReplay())
    ask(node.hub, [OLD])
    assert node.unanswerable == [(OLD, 5)]
    node.hub.execute([Accept(OLD, 1)])
    ask(node.hub, [OLD], 6)
    assert node.unanswerable == [(OLD, 5)]
    assert client.answered(6) == "app1-bbbbbb"


def test_the_home_does_not_speak_for_one_that_is_elsewhere(node: Node) -> None:
    connection, sid = joined(node)
    connection.close(reasons.TRANSPORT_CLOSE)
    node.hub.execute([Accept(sid, 1)])
    ask(node.hub, [sid])
    assert node.unanswerable == []


def test_one_that_is_half_open_here_and_comes_back_elsewhere(node: Node) -> None:
    """Its questions end with the old connection; the home is silent about what comes then."""
    connection, sid = joined(node)
    ask(node.hub, [sid], 5)
    node.hub.execute([Accept(sid, 1)])
    assert connection.closed is not None
    assert node.unanswerable == [(sid, 5)]
    ask(node.hub, [sid], 6)
    assert node.unanswerable == [(sid, 5)]


def test_one_whose_half_open_connection_ends_for_good_here_is_elsewhere_all_the_same(node: Node) -> None:
    connection, sid = joined(node)
    connection.close(reasons.PARSE_ERROR)
    node.hub.execute([Accept(sid, 1)])
    ask(node.hub, [sid])
    assert node.unanswerable == []


class Adopting:
    """An io-node that has taken over a client of another home."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.unanswerable: list[int] = []
        self.asked: list[tuple[int, AskedMany]] = []
        self.hub = Hub(
            counters=node.counters,
            absent=Absent(lambda: 0.0),
            turns=Turns(),
            adopted=True,
            on_unanswerable=lambda sid, request: self.unanswerable.append(request.ack_id),
            on_asked=lambda request, asked: self.asked.append((request.ack_id, asked)),
        )
        self.hub.begin(b"5-0")

    def come(self, generation: int) -> tuple[FakeConnection, Client]:
        connection = self.node.connect()
        connection.handshake = BROWSER
        self.node.receive(connection, f'0{{"pid":"{PID}"}}')
        (client,) = self.node.claims.claiming
        del self.node.claims.claiming[client]
        connected = msgspec.structs.replace(
            client.connected, sid=OLD, generation=generation, pid_hash=hash_of("s" * 22), holder="io2-bbbbbb"
        )
        client.claimed(connected, lane_of(OLD, LANES), self.hub, PID, FakeReplay())
        client.session.pass_on(client)
        return connection, client


@pytest.mark.parametrize("reason", [reasons.TRANSPORT_CLOSE, reasons.PARSE_ERROR])
def test_the_last_holder_speaks_for_one_that_has_left_it(node: Node, reason: str) -> None:
    other = Adopting(node)
    ask(other.hub, [OLD], 1)  # never was here
    connection, _ = other.come(1)
    ask(other.hub, [OLD], 2)  # is not let in here yet, so whoever had it before speaks for it
    other.hub.execute([Accept(OLD, 1)])
    ask(other.hub, [OLD], 3)
    assert other.unanswerable == []
    connection.close(reason)
    ask(other.hub, [OLD], 4)
    assert other.unanswerable == [3, 4]
    other.hub.execute([Join(OLD, "red"), Accept(OLD, 2)])  # elsewhere
    ask(other.hub, [OLD], 5)
    assert other.unanswerable == [3, 4]


def test_one_that_comes_back_to_its_last_holder_and_leaves_before_it_is_let_in(node: Node) -> None:
    other = Adopting(node)
    connection, _ = other.come(1)
    connection.close(reasons.TRANSPORT_CLOSE)
    other.hub.execute([Accept(OLD, 1)])
    ask(other.hub, [OLD], 4)
    assert other.unanswerable == [4]
    connection, _ = other.come(2)
    other.hub.execute([Accept(OLD, 2)])
    other.hub.evict(Evict(OLD, 2))
    ask(other.hub, [OLD], 5)
    assert other.unanswerable == [4, 5]
