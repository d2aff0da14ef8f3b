"""Sessions and hubs where clients may come back. Who decides on a claim is a stand-in."""

import dataclasses
import json
from collections.abc import Iterator

import msgspec
import pytest

from io_node.engineio.api import Outbound
from io_node.socketio.client import Client, RoomsAt
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    AckRequest,
    ClientConnected,
    ClientDisconnected,
    CloseRoom,
    Disconnect,
    Emit,
    Evict,
    Join,
    Leave,
    Refuse,
    Room,
    RoomChanged,
)
from sio_cluster.protocol.recovery import Position, encode_offset, hash_of

from .fakes import HANDSHAKE, LANES, LIMITS, NODE, FakeConnection, Node

WINDOW_MS = 120_000
BROWSER = msgspec.structs.replace(HANDSHAKE, headers=[("user-agent", "Mozilla/5.0")])
OLD = f"{NODE}.aaaaaaaaaaaaaaaa"
PID = f"{OLD}~{'s' * 22}"


class FakeReplay:
    def __init__(self, *messages: bytes, rooms: tuple[str, ...] = (), closed: tuple[str, ...] = ()) -> None:
        self.missed = [Outbound(packet, place=Position(1, 0, 0)) for packet in messages]
        self.stays = RoomsAt(set(rooms), closed)
        self.asked: list[Position] = []
        self.ended = 0

    def rooms(self, place: Position) -> RoomsAt:
        self.asked.append(place)
        return self.stays

    def events(self, after: Position | None, until: Position) -> Iterator[Outbound]:
        assert (after, until) == (None, self.asked[-1])
        return iter(self.missed)

    def end(self) -> None:
        self.ended += 1


@pytest.fixture
def node() -> Node:
    node = Node(dataclasses.replace(LIMITS, recovery_window_ms=WINDOW_MS))
    node.hub.begin(b"5-0")
    return node


def joined(node: Node, connect: str = "0") -> tuple[FakeConnection, str]:
    """A browser that has joined the main namespace."""
    connection = node.connect()
    connection.handshake = BROWSER
    node.receive(connection, connect)
    (fact,) = node.uplink.take()
    assert isinstance(fact, ClientConnected)
    node.hub.execute([Accept(fact.sid)])
    return connection, fact.sid


def claiming(node: Node) -> tuple[FakeConnection, Client]:
    connection = node.connect()
    connection.handshake = BROWSER
    node.receive(connection, f'0{{"pid":"{PID}"}}')
    (client,) = node.claims.claiming
    return connection, client


def claimed(node: Node, replay: FakeReplay, generation: int = 1) -> tuple[FakeConnection, Client]:
    """A client that has claimed its session back, and is pending."""
    connection, client = claiming(node)
    del node.claims.claiming[client]
    connected = msgspec.structs.replace(
        client.connected, sid=OLD, generation=generation, pid_hash=hash_of("s" * 22), holder=""
    )
    client.claimed(connected, lane_of(OLD, LANES), node.hub, PID, replay)
    client.session.pass_on(client)
    return connection, client


def test_a_pid_comes_with_connect_and_offsets_with_events(node: Node) -> None:
    connection, sid = joined(node)
    (connect,) = connection.take()
    data = json.loads(connect[1:])
    assert data["sid"] == sid
    assert data["pid"].startswith(f"{sid}~")
    node.hub.begin(b"1690-2")
    node.hub.execute([Join(sid, "red"), Emit("/", b'2["all"]'), Emit("/", b'2["red",1]', to=["red"], volatile=True)])
    first, second = (encode_offset(Position(1690, 2, number)) for number in (1, 2))
    assert connection.take() == [b'2["all","%b"]' % first, b'2["red",1,"%b"]' % second]


def test_the_place_goes_on_where_a_batch_takes_several_turns(node: Node) -> None:
    connection, sid = joined(node)
    connection.take()
    node.hub.begin(b"7-0")
    targets: list[list[Room]] = [[sid], ["red", sid], ["red", sid], ["red", sid], [sid]]
    commands = iter([Emit("/", b'2["n"]', to=target) for target in targets])
    turns = 0
    while not node.hub.execute(commands, lambda: True):
        turns += 1
    assert turns == 3  # those that go together come in one
    offsets = [json.loads(packet[1:])[1] for packet in connection.take()]
    assert offsets == [encode_offset(Position(7, 0, number)).decode() for number in range(5)]


def test_what_asks_for_an_answer_goes_alone(node: Node) -> None:
    """The client takes the last argument for the function that answers, so it gets no offset."""
    connection, sid = joined(node)
    connection.take()
    node.hub.begin(b"7-0")
    question = Emit("/", b'25["q"]', to=[sid], ack=AckRequest("app1-bbbbbb", 5))
    node.hub.execute([Emit("/", b'2["n"]', to=[sid]), question, question, Emit("/", b'2["n"]', to=[sid])])
    first, last = (encode_offset(Position(7, 0, number)) for number in (0, 3))
    assert connection.take() == [b'2["n","%b"]' % first, b'25["q"]', b'25["q"]', b'2["n","%b"]' % last]


def test_what_the_application_is_told_of_the_pid(node: Node) -> None:
    connection = node.connect()
    connection.handshake = BROWSER
    node.receive(connection, '0{"token":1}')
    (fact,) = node.uplink.take()
    assert isinstance(fact, ClientConnected)
    assert (len(fact.pid_hash), fact.generation, fact.holder, fact.auth) == (32, 0, "", b'{"token":1}')


def test_what_is_said_once_is_not_kept(node: Node) -> None:
    """It would be held for as long as the client is connected. That it may come back is known without."""
    node.hub.begin(b"7-0")
    joined(node)
    [client] = node.hub.clients()
    assert (client.connected.pid_hash, client.connected.since, client.pid) == (b"", "", "")
    assert client.may_come_back


@pytest.mark.parametrize(
    ("reason", "keeps"),
    [
        (reasons.TRANSPORT_CLOSE, True),
        (reasons.TRANSPORT_ERROR, True),
        (reasons.PING_TIMEOUT, True),
        (reasons.SLOW_CONSUMER, True),
        (reasons.NODE_DRAINED, True),
        (reasons.NODE_LOST, True),
        (reasons.PARSE_ERROR, False),
        (reasons.SERVER_DISCONNECT, False),
        (reasons.CLIENT_DISCONNECT, True),
    ],
)
def test_who_may_come_back(node: Node, reason: str, keeps: bool) -> None:
    connection, sid = joined(node)
    connection.close(reason)
    assert node.uplink.take() == [ClientDisconnected(sid, reason, 0, WINDOW_MS if keeps else 0)]
    assert node.uplink.renounced == ([] if keeps else [(sid, 0)])
    assert (sid in node.hub.absent) is keeps


def test_who_leaves_the_namespace_or_is_sent_away_does_not_come_back(node: Node) -> None:
    connection, left = joined(node)
    node.receive(connection, "1")
    node.uplink.take()
    connection, sent_away = joined(node)
    node.hub.execute([Disconnect(sent_away)])
    assert node.uplink.renounced == [(left, 0), (sent_away, 0)]


def test_who_was_never_accepted_has_no_pid_to_come_back_with(node: Node) -> None:
    connection = node.connect()
    connection.handshake = BROWSER
    sid = node.pending(connection)
    connection.close(reasons.TRANSPORT_CLOSE)
    assert node.uplink.take() == [ClientDisconnected(sid, reasons.TRANSPORT_CLOSE, 0, 0)]
    assert node.uplink.renounced == []


def test_a_claim_that_is_refused(node: Node) -> None:
    _, client = claiming(node)
    assert node.uplink.take() == []
    fresh = client.sid
    node.claims.refuse(client)
    (fact,) = node.uplink.take()
    assert isinstance(fact, ClientConnected)
    assert (fact.sid, fact.generation, fact.auth) == (fresh, 0, None)
    assert fresh in node.hub


def test_a_claim_is_looked_at_when_connect_rate_lets_it_through() -> None:
    node = Node(dataclasses.replace(LIMITS, recovery_window_ms=WINDOW_MS), rate=1)
    joined(node)
    connection = node.connect()
    connection.handshake = BROWSER
    node.receive(connection, f'0{{"pid":"{PID}"}}')
    assert node.claims.claiming == {}
    assert len(node.throttle) == 1
    connection.close(reasons.TRANSPORT_CLOSE)
    assert node.counters.left_waiting == 1


def test_it_closes_while_its_claim_is_looked_at(node: Node) -> None:
    connection, client = claiming(node)
    connection.close(reasons.PING_TIMEOUT)
    assert node.claims.claiming == {client: reasons.PING_TIMEOUT}
    assert node.uplink.take() == []
    assert node.counters.claims_left == 1


def test_the_session_is_claimed_back(node: Node) -> None:
    """First CONNECT with the same pid, then what was missed, then what comes."""
    replay = FakeReplay(b'2["missed"]', rooms=("red",), closed=("blue",))
    connection, _ = claimed(node, replay)
    (fact,) = node.uplink.take()
    assert isinstance(fact, ClientConnected)
    assert (fact.sid, fact.generation) == (OLD, 1)
    node.hub.begin(b"9-0")
    node.hub.execute([Emit("/", b'2["to all"]'), Emit("/", b'2["to it"]', to=[OLD]), Accept(OLD, 1)])
    assert replay.asked == [Position(9, 0, 2)]
    assert replay.ended >= 1
    node.hub.execute([Emit("/", b'2["live"]', to=["red"])])
    connect, missed, live = connection.take()
    assert json.loads(connect[1:]) == {"sid": OLD, "pid": PID}
    assert missed.startswith(b'2["missed","')
    assert live.startswith(b'2["live","')
    assert node.told == [(lane_of(OLD, LANES), RoomChanged(OLD, "blue", False))]
    assert (node.counters.recovered, node.counters.replayed) == (1, 1)
    assert node.counters.emit_deliveries == 2


def test_while_it_is_pending_its_rooms_are_those_of_the_log(node: Node) -> None:
    """But the holder of its lane is told, since it does not read the log."""
    connection, _ = claimed(node, FakeReplay(rooms=("red",)))
    node.hub.execute([Join(OLD, "blue", True), Leave(OLD, "red", True), CloseRoom("/", "red"), Ack(OLD, b"31[]")])
    assert [change.inside for _, change in node.told] == [True, False]
    node.hub.execute([Accept(OLD, 1), Emit("/", b'2["n"]', to=["blue"]), Emit("/", b'2["y"]', to=["red"])])
    assert [packet[:5] for packet in connection.take()[1:]] == [b'2["y"']


@pytest.mark.parametrize("generation", [0, 1])
def test_an_answer_to_a_former_connection_says_nothing(node: Node, generation: int) -> None:
    connection, client = claimed(node, FakeReplay(), generation=2)
    node.hub.execute([Accept(OLD, generation), Refuse(OLD, b"{}", generation)])
    assert connection.take() == []
    assert not client.joined
    assert node.phantoms == []


@pytest.mark.parametrize("answer", [Accept(OLD, 2), Refuse(OLD, b"{}", 2)])
def test_an_answer_to_a_later_connection_closes_this_one(node: Node, answer: Accept | Refuse) -> None:
    """The Evict came before this connection had its session."""
    connection, _ = claimed(node, FakeReplay())
    node.hub.execute([answer])
    assert connection.closed == reasons.TRANSPORT_CLOSE
    assert OLD not in node.hub


def test_refused_though_it_was_let_in_before(node: Node) -> None:
    replay = FakeReplay()
    connection, _ = claimed(node, replay)
    node.uplink.take()
    node.hub.execute([Refuse(OLD, b'{"message":"banned"}', 1)])
    assert connection.take() == [b'4{"message":"banned"}']
    assert replay.ended == 1
    assert OLD not in node.hub
    assert node.uplink.take() == []


def test_it_leaves_again_before_it_is_accepted(node: Node) -> None:
    replay = FakeReplay()
    connection, _ = claimed(node, replay)
    node.uplink.take()
    connection.close(reasons.TRANSPORT_CLOSE)
    assert node.uplink.take() == [ClientDisconnected(OLD, reasons.TRANSPORT_CLOSE, 1, WINDOW_MS)]
    assert replay.ended == 1


@pytest.mark.parametrize(("generation", "closes"), [(0, False), (1, True), (5, True)])
def test_evict(node: Node, generation: int, closes: bool) -> None:
    """All clients of the connection leave with it."""
    connection, _ = claimed(node, FakeReplay())
    node.hub.execute([Accept(OLD, 1)])
    node.uplink.take()
    node.hub.execute([Evict(OLD, generation), Evict("nobody", 7)])
    assert (connection.closed is not None) is closes
    assert node.counters.evicted == int(closes)
    if closes:
        assert node.uplink.take() == [ClientDisconnected(OLD, reasons.TRANSPORT_CLOSE, 1, WINDOW_MS)]


def test_what_the_inbox_says_of_rooms_wherever_the_client_is(node: Node) -> None:
    here, sid = joined(node)
    away, absent = joined(node)
    node.ops.clear()
    node.hub.execute([Join(sid, "red"), Join(absent, "red")])
    away.close(reasons.TRANSPORT_CLOSE)
    node.hub.execute([Join(absent, "blue"), Join("stranger", "blue"), Leave(absent, "never"), Join(sid, sid)])
    node.hub.execute([CloseRoom("/", "red"), CloseRoom("/", "blue"), Accept(absent, 1)])
    assert node.ops[:5] == [
        (sid, "red", True),
        (absent, "red", True),
        (absent, "blue", True),
        ("stranger", "blue", True),
        (absent, "never", False),
    ]
    assert sorted(node.ops[5:7]) == sorted([(sid, "red", False), (absent, "red", False)])
    assert node.ops[7:] == [(absent, "blue", False), (absent, absent, True)]
    assert node.counters.unknown_sid == 1
    assert here.closed is None


def test_an_accept_of_who_has_left(node: Node) -> None:
    """It must not end the session of one that may come back. Of a later connection, which is elsewhere, it is none."""
    connection, sid = joined(node)
    connection.close(reasons.TRANSPORT_CLOSE)
    node.hub.execute([Accept(sid, 1), Accept(sid), Accept("gone")])
    assert node.phantoms == [(sid, True), ("gone", False)]
