"""One connection's namespaces: which packets are allowed when, and what becomes of them."""

import pytest
from msgspec.structs import replace

from io_node.socketio.client import SessionLimits
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import lane_of, node_of
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    AckReceived,
    AckRequest,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    Disconnect,
    Emit,
    EventReceived,
    Refuse,
    Room,
)

from .fakes import HANDSHAKE, LANES, LIMITS, NODE, FakeConnection, Node


@pytest.fixture
def node() -> Node:
    return Node()


def joined(node: Node, connection: FakeConnection, namespace: str = "/") -> str:
    sid = node.pending(connection, namespace)
    node.hub.execute([Accept(sid)])
    connection.take()
    return sid


def test_connect_waits_for_accept(node: Node) -> None:
    connection = node.connect()
    node.receive(connection, '0/chat,{"token":1}')
    ((lane, fact),) = node.uplink.facts
    assert isinstance(fact, ClientConnected)
    assert fact == ClientConnected(fact.sid, "conn", "/chat", b'{"token":1}', HANDSHAKE, "websocket")
    assert node_of(fact.sid) == NODE
    assert lane == lane_of(fact.sid, LANES)
    assert connection.take() == []
    node.hub.execute([Accept(fact.sid)])
    assert connection.take() == [b'0/chat,{"sid":"%s"}' % fact.sid.encode()]


def test_accept_twice_is_one_accept(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    node.hub.execute([Accept(sid)])
    assert connection.take() == []
    assert node.counters.accepted == 1


def test_refuse(node: Node) -> None:
    connection = node.connect()
    sid = node.pending(connection, "/chat")
    node.hub.execute([Emit("/chat", b'2/chat,["held"]'), Refuse(sid, b'{"message":"no"}')])
    assert connection.take() == [b'4/chat,{"message":"no"}']
    assert connection.closed is None
    assert node.uplink.take() == []
    assert len(node.hub) == 0
    assert node.counters.held_dropped == 1
    assert len(node.idle) == 1


def test_refuse_of_a_joined_client_disconnects_it(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    node.hub.execute([Refuse(sid, b"{}")])
    assert connection.take() == [b"1"]
    assert node.uplink.take() == [ClientDisconnected(sid, reasons.SERVER_DISCONNECT)]


def test_messages_for_a_pending_client_follow_its_connect_packet(node: Node) -> None:
    connection = node.connect()
    sid = node.pending(connection)
    node.hub.execute(
        [
            Emit("/", b'2["one"]', to=[sid]),
            Emit("/", b'2["volatile"]', to=[sid], volatile=True),
            Emit("/", b'51-["two",{"_placeholder":true,"num":0}]', [b"\x01"]),
            Accept(sid),
            Emit("/", b'2["three"]'),
        ]
    )
    assert connection.take()[1:] == [
        b'2["one"]',
        b'51-["two",{"_placeholder":true,"num":0}]',
        b"\x01",
        b'2["three"]',
    ]


def test_what_is_held_counts_as_waiting_for_the_connection(node: Node) -> None:
    """However much it is, the client gets it once it is accepted."""
    connection = node.connect()
    sid = node.pending(connection)
    for _ in range(6):
        node.hub.execute([Emit("/", b"2" + b"x" * 999_998)])
    assert connection.kept_bytes == 6_000_000
    node.hub.execute([Accept(sid)])
    assert connection.kept_bytes == 0
    assert len(connection.take()) == 7
    assert connection.closed is None


def test_what_is_held_for_a_client_that_leaves_counts_no_more(node: Node) -> None:
    connection = node.connect()
    node.pending(connection)
    node.hub.execute([Emit("/", b"2[1]"), Emit("/", b"2[2]")])
    assert connection.kept_bytes > 0
    connection.close(reasons.TRANSPORT_CLOSE)
    assert connection.kept_bytes == 0
    assert node.counters.held_dropped == 2


def test_a_connection_that_closes_while_it_is_accepted(node: Node) -> None:
    connection = node.connect()
    sid = node.pending(connection)
    connection.close_on_send = True
    node.hub.execute([Emit("/", b"2[1]"), Accept(sid)])
    assert len(node.hub) == 0
    assert node.uplink.take() == [ClientDisconnected(sid, reasons.SLOW_CONSUMER)]


def test_events_in_order(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection, "/chat")
    node.receive(connection, '2/chat,["a"]', '52-/chat,7["b"]', b"\x01", b"\x02", '2/chat,["c"]')
    assert [lane for lane, _ in node.uplink.facts] == [lane_of(sid, LANES)] * 3
    assert node.uplink.take() == [
        EventReceived(sid, None, b'["a"]'),
        EventReceived(sid, 7, b'["b"]', [b"\x01", b"\x02"]),
        EventReceived(sid, None, b'["c"]'),
    ]


def test_answers_of_the_application(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    node.hub.execute([Ack(sid, b'37["ok"]'), Ack(sid, b'61-8[{"_placeholder":true,"num":0}]', [b"x"])])
    assert connection.take() == [b'37["ok"]', b'61-8[{"_placeholder":true,"num":0}]', b"x"]


def test_answers_of_a_client_go_to_who_asked(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    node.hub.execute([Emit("/", b'25["q"]', to=[sid], ack=AckRequest("app1-bbbbbb", 5))])
    node.receive(connection, "35[1,null]", "35[2]", "36[]")
    assert node.uplink.facts == [("app1-bbbbbb", AckReceived(sid, 5, b"[1,null]"))]
    assert node.counters.unexpected_acks == 2
    assert connection.closed is None


def test_questions_that_a_client_owes_are_bounded(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    node.hub.execute(Emit("/", b"2[1]", to=[sid], ack=AckRequest("app1-bbbbbb", n)) for n in range(1_001))
    assert node.counters.forgotten_acks == 1
    node.receive(connection, "30[]", "31[]")
    assert [fact.ack_id for fact in node.uplink.take() if isinstance(fact, AckReceived)] == [1]


def test_questions_to_many_push_out_no_question_to_one(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    node.hub.execute([Emit("/", b'20["call"]', to=[sid], ack=AckRequest("app1-bbbbbb", 0))])
    node.hub.execute(Emit("/", b"2[1]", ack=AckRequest("app1-bbbbbb", n)) for n in range(1, 1_002))
    node.hub.execute([Emit("/", b"2[1]", to=[sid, "room"], ack=AckRequest("app1-bbbbbb", 1_002))])
    assert node.counters.forgotten_acks == 2
    node.receive(connection, "30[]", "31[]", "32[]", "33[]", "31002[]", "30[]")
    assert [fact.ack_id for fact in node.uplink.take() if isinstance(fact, AckReceived)] == [0, 3, 1_002]
    assert node.counters.unexpected_acks == 3


@pytest.mark.parametrize("alone", [True, False])
def test_no_other_questions_push_out_a_call(node: Node, alone: bool) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    client: list[Room] = [sid]
    call = AckRequest("app1-bbbbbb", 0, is_call=True)
    node.hub.execute([Emit("/", b'20["call"]', to=client if alone else None, ack=call)])
    for to in (client, None):
        node.hub.execute(Emit("/", b"2[1]", to=to, ack=AckRequest("app1-bbbbbb", n)) for n in range(1, 1_002))
    assert node.counters.forgotten_acks == 2
    node.receive(connection, "30[]", "31[]")
    assert [fact.ack_id for fact in node.uplink.take() if isinstance(fact, AckReceived)] == [0]


def test_disconnect_of_one_namespace_keeps_the_others(node: Node) -> None:
    connection = node.connect()
    main, chat = joined(node, connection), joined(node, connection, "/chat")
    node.receive(connection, "1/chat,", '2["still here"]')
    assert node.uplink.take() == [
        ClientDisconnected(chat, reasons.CLIENT_DISCONNECT),
        EventReceived(main, None, b'["still here"]'),
    ]
    assert node.idle == []
    node.receive(connection, "1")
    assert len(node.idle) == 1
    assert connection.closed is None


def test_a_namespace_can_be_joined_again_as_another_client(node: Node) -> None:
    connection = node.connect()
    first = joined(node, connection)
    node.receive(connection, "1")
    node.uplink.take()
    assert joined(node, connection) != first


def test_server_disconnect_of_one_namespace(node: Node) -> None:
    connection = node.connect()
    main, chat = joined(node, connection), joined(node, connection, "/chat")
    node.hub.execute([Disconnect(chat)])
    assert connection.take() == [b"1/chat,"]
    assert node.uplink.take() == [ClientDisconnected(chat, reasons.SERVER_DISCONNECT)]
    node.receive(connection, '2/chat,["under way"]', "3/chat,1[]", "1/chat,", '2["main"]')
    assert node.uplink.take() == [EventReceived(main, None, b'["main"]')]
    assert node.counters.late_packets == 3
    assert connection.closed is None


def test_forgiveness_ends_when_the_client_connects_anew(node: Node) -> None:
    connection = node.connect()
    sid = joined(node, connection, "/chat")
    node.hub.execute([Disconnect(sid)])
    node.receive(connection, "0/chat,")
    node.receive(connection, '2/chat,["too early"]')
    assert connection.closed == reasons.PARSE_ERROR


def test_server_disconnect_of_the_whole_connection(node: Node) -> None:
    connection = node.connect()
    main, chat = joined(node, connection), joined(node, connection, "/chat")
    node.hub.execute([Disconnect(chat, close=True)])
    assert sorted(connection.take()) == [b"1", b"1/chat,"]
    assert connection.closed == reasons.SERVER_DISCONNECT
    assert {fact.sid for fact in node.uplink.take() if isinstance(fact, ClientDisconnected)} == {main, chat}
    assert node.uplink.forgotten == [connection]


@pytest.mark.parametrize("close", [False, True])
def test_a_pending_client_that_is_disconnected_is_refused(node: Node, close: bool) -> None:
    """It is in no namespace yet that it could be sent away from: a client waits for the answer to its CONNECT."""
    connection = node.connect()
    main, chat = joined(node, connection), node.pending(connection, "/chat")
    node.hub.execute([Disconnect(chat, close), Refuse(chat, b'{"message":"too late"}')])
    refusal = b'4/chat,{"message":"Connection rejected by server"}'
    assert sorted(connection.take()) == ([b"1", refusal] if close else [refusal])
    gone = {fact.sid for fact in node.uplink.take() if isinstance(fact, ClientDisconnected)}
    assert gone == ({main, chat} if close else {chat})
    assert connection.closed == (reasons.SERVER_DISCONNECT if close else None)


def test_close_disconnects_every_namespace_once(node: Node) -> None:
    connection = node.connect()
    main, chat = joined(node, connection), node.pending(connection, "/chat")
    connection.close(reasons.TRANSPORT_CLOSE)
    assert node.uplink.take() == [
        ClientDisconnected(main, reasons.TRANSPORT_CLOSE),
        ClientDisconnected(chat, reasons.TRANSPORT_CLOSE),
    ]
    assert len(node.hub) == 0


def test_upgrade_is_told_for_every_namespace(node: Node) -> None:
    connection = node.connect()
    main, chat = joined(node, connection), node.pending(connection, "/chat")
    assert connection.session is not None
    connection.session.on_upgrade("websocket")
    assert node.uplink.take() == [ClientUpgraded(main, "websocket"), ClientUpgraded(chat, "websocket")]
    for client in node.hub.clients():
        client.connected = replace(client.connected, generation=2)  # as if each had claimed its session back
    connection.session.on_upgrade("websocket")
    assert node.uplink.take() == [ClientUpgraded(main, "websocket", 2), ClientUpgraded(chat, "websocket", 2)]


def test_no_connect_in_time(node: Node) -> None:
    connection = node.connect()
    (timer,) = node.idle
    timer.fire()
    assert connection.closed == reasons.SERVER_DISCONNECT
    assert node.idle == []


def test_a_pending_client_has_time(node: Node) -> None:
    connection = node.connect()
    node.pending(connection)
    assert node.idle == []


def test_a_connection_that_left_its_last_namespace_may_join_another_in_time(node: Node) -> None:
    connection = node.connect()
    joined(node, connection)
    node.receive(connection, "1")
    node.uplink.take()
    joined(node, connection, "/chat")
    assert node.idle == []
    node.receive(connection, "1/chat,")
    (timer,) = node.idle
    timer.fire()
    assert connection.closed == reasons.SERVER_DISCONNECT


def test_no_timer_outlives_its_connection(node: Node) -> None:
    node.connect().close(reasons.TRANSPORT_CLOSE)
    whole = node.connect()
    sid = joined(node, whole)
    node.hub.execute([Disconnect(sid, close=True)])
    assert node.idle == []


def test_too_many_namespaces(node: Node) -> None:
    connection = node.connect()
    for number in range(LIMITS.max_namespaces):
        node.pending(connection, f"/{number}")
    node.receive(connection, "0/more,", "0/thousands,")
    assert connection.take() == [
        b'4/more,{"message":"Too many namespaces"}',
        b'4/thousands,{"message":"Too many namespaces"}',
    ]
    assert node.uplink.take() == []
    assert connection.closed is None


@pytest.mark.parametrize(
    "messages",
    [
        ['2["event before CONNECT"]'],
        ["31[]"],
        ["1"],
        ["0", "0"],
        ["0", '2["event while pending"]'],
        ["0", "1"],
        ["0/chat,", "0/chat,"],
        ["0/chat,", '2["to a namespace not joined"]'],
        ["4{}"],
        ["garbage"],
        [b"\x00"],
        ["0", '51-["x"]', '2["x"]'],
    ],
    ids=repr,
)
def test_invalid_states_close_the_connection(node: Node, messages: list[str | bytes]) -> None:
    connection = node.connect()
    bystander = node.connect()
    sid = joined(node, bystander)
    node.receive(connection, *messages)
    assert connection.closed == reasons.PARSE_ERROR
    node.uplink.take()
    node.receive(bystander, '2["fine"]')
    assert node.uplink.take() == [EventReceived(sid, None, b'["fine"]')]


@pytest.mark.parametrize("message", ["0", '2["connect"]', '2["disconnect"]', "2{}", '2/other,["x"]', b"x"])
def test_invalid_states_of_a_joined_client(node: Node, message: str | bytes) -> None:
    connection = node.connect()
    sid = joined(node, connection)
    node.receive(connection, message)
    assert connection.closed == reasons.PARSE_ERROR
    assert node.uplink.take() == [ClientDisconnected(sid, reasons.PARSE_ERROR)]


def test_limits_come_from_settings() -> None:
    limits = SessionLimits(max_namespaces=1, max_attachments=0, max_payload_bytes=10, connect_timeout_s=45.0)
    node = Node(limits)
    connection = node.connect()
    joined(node, connection)
    node.receive(connection, '51-["x"]')
    assert connection.closed == reasons.PARSE_ERROR
