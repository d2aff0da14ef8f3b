"""CONNECTs beyond the rate wait in order; those who leave meanwhile were never there."""

import json

import pytest

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import ClientConnected, ClientDisconnected, EventReceived, Fact

from .fakes import BUFFER_BYTES, LIMITS, FakeConnection, Node


def admitted(facts: list[Fact]) -> list[str]:
    return [fact.sid for fact in facts if isinstance(fact, ClientConnected)]


def numbers(facts: list[Fact]) -> list[int]:
    return [json.loads(fact.auth or b"")["n"] for fact in facts if isinstance(fact, ClientConnected)]


def pass_time(node: Node, seconds: float) -> None:
    """Rounds of the throttle come every 20 ms."""
    until = node.now + seconds
    while node.now < until - 1e-9:
        node.now = min(until, node.now + 0.02)
        for timer in list(node.rounds):
            timer.fire()


def storm(node: Node, count: int) -> list[FakeConnection]:
    connections = [node.connect() for _ in range(count)]
    for number, connection in enumerate(connections):
        node.receive(connection, f'0{{"n":{number}}}')
    return connections


def test_a_storm_is_admitted_at_the_rate_and_in_order() -> None:
    node = Node(rate=1_000)
    storm(node, 5_000)
    order = numbers(node.uplink.take())
    assert len(order) == 1_000
    assert len(node.throttle) == 4_000
    for second in range(1, 5):
        pass_time(node, 1.0)
        order += numbers(node.uplink.take())
        assert len(order) == pytest.approx(1_000 * (1 + second), abs=5)
    pass_time(node, 0.1)
    order += numbers(node.uplink.take())
    assert order == list(range(5_000))
    assert len(node.throttle) == 0
    assert node.rounds == []
    assert node.counters.connected == len(node.hub) == 5_000


def test_without_a_limit_nobody_waits() -> None:
    node = Node(rate=0)
    storm(node, 3_000)
    assert len(admitted(node.uplink.take())) == 3_000


def test_those_who_leave_are_never_heard_of() -> None:
    node = Node(rate=10)
    connections = storm(node, 30)
    node.uplink.take()
    for connection in connections[10:20]:
        connection.close(reasons.TRANSPORT_CLOSE)
    assert node.uplink.take() == []
    assert node.counters.left_waiting == 10
    pass_time(node, 1.0)
    assert admitted(node.uplink.take()) == [f"{client.sid}" for client in node.hub.clients()[10:]]
    assert len(node.throttle) == 0
    connections[0].close(reasons.TRANSPORT_CLOSE)
    assert [type(fact) for fact in node.uplink.take()] == [ClientDisconnected]


def test_who_waits_is_in_no_room_and_not_idle() -> None:
    node = Node(rate=1)
    first, second = storm(node, 2)
    assert [client.connected.connection for client in node.hub.clients()] == ["conn"]
    assert node.idle == []
    node.receive(second, '2["too soon"]')
    assert second.closed == reasons.PARSE_ERROR
    assert first.closed is None


def test_live_events_pass_those_who_wait() -> None:
    node = Node(rate=1)
    (early,) = storm(node, 1)
    (sid,) = admitted(node.uplink.take())
    (client,) = node.hub.clients()
    client.accept()
    storm(node, 100)
    node.receive(early, '2["now"]')
    assert node.uplink.take() == [EventReceived(sid, None, b'["now"]')]


def test_an_upgrade_while_waiting_is_told_with_the_connect() -> None:
    node = Node(rate=1)
    _, waiting = storm(node, 2)
    waiting.transport = "polling"
    assert waiting.session is not None
    waiting.session.on_upgrade("polling")
    node.uplink.take()
    pass_time(node, 1.1)
    (fact,) = node.uplink.take()
    assert isinstance(fact, ClientConnected)
    assert fact.transport == "polling"


def test_a_full_uplink_holds_those_back_who_wait() -> None:
    node = Node(rate=100)
    storm(node, 200)
    node.has_room = False
    pass_time(node, 3.0)
    assert len(node.throttle) == 100
    node.has_room = True
    pass_time(node, 0.04)
    assert len(node.throttle) == 0


def test_namespaces_that_wait_are_bounded() -> None:
    node = Node(rate=1)
    storm(node, 1)
    connection = node.connect()
    node.receive(connection, *(f"0/{number}," for number in range(10)))
    assert len(node.throttle) == LIMITS.max_namespaces
    connection.close(reasons.TRANSPORT_CLOSE)
    assert len(node.throttle) == 0


def test_those_who_wait_with_much_are_read_no_further_until_there_is_room() -> None:
    node = Node(rate=10)
    storm(node, 10)
    connections = [node.connect() for _ in range(8)]
    for connection in connections:
        node.receive(connection, f'0{{"n":"{"x" * (BUFFER_BYTES // 6)}"}}')
    assert [connection.paused for connection in connections] == [False] * 5 + [True] * 3
    connections[7].close(reasons.TRANSPORT_CLOSE)
    pass_time(node, 0.4)
    assert [connection.paused for connection in connections[:7]] == [False] * 5 + [True] * 2
    pass_time(node, 0.2)
    assert not any(connection.paused for connection in connections[:7])
    pass_time(node, 0.2)
    assert len(node.throttle) == 0
