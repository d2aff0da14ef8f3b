"""A message to more clients than one turn of the event loop writes to."""

import asyncio
import dataclasses
from collections.abc import Iterator

import pytest

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Accept, AckReceived, AckRequest, Command, Emit, Join
from sio_cluster.protocol.recovery import Position

from .fakes import LIMITS, FakeConnection, Node
from .test_recovering import OLD, WINDOW_MS, FakeReplay, claimed

MANY = 2_001
"""One more than get a message at once."""
EMIT = Emit("/", b'2["news"]', to=["all"])
BEHIND = Emit("/", b'2["next"]', to=["all", "others"])
QUESTION = Emit("/", b'25["q"]', to=["all"], ack=AckRequest("app1-bbbbbb", 5, is_call=True, names_asked=True))


class Crowd:
    """As many clients in one room, of which each has a connection of its own."""

    def __init__(self) -> None:
        self.node = Node(dataclasses.replace(LIMITS, recovery_window_ms=WINDOW_MS))
        self.node.hub.begin(b"5-0")
        self.connections: list[FakeConnection] = []
        self.sids: list[str] = []
        for _ in range(MANY):
            connection = self.node.connect()
            self.sids.append(self.node.pending(connection))
            self.connections.append(connection)
        for sid in self.sids:
            self.node.hub.execute([Accept(sid), Join(sid, "all")])
        self.got()
        self.node.uplink.take()
        self.node.hub.begin(b"6-0")

    def got(self) -> list[list[bytes]]:
        return [connection.take() for connection in self.connections]

    def begin(self, *commands: Command) -> Iterator[Command]:
        """The first turn. What is left is in the iterator."""
        left = iter(commands)
        assert not self.node.hub.execute(left, lambda: True)
        return left

    def end(self, left: Iterator[Command]) -> int:
        """The other turns. Returns how many they were."""
        turns = 1
        while not self.node.hub.execute(left, lambda: True):
            turns += 1
        return turns


@pytest.fixture
def crowd() -> Crowd:
    return Crowd()


def test_they_get_it_in_turns_and_nothing_that_is_behind_before(crowd: Crowd) -> None:
    left = crowd.begin(EMIT, BEHIND)
    first = crowd.got()
    assert 0 < first.count([b'2["news"]']) <= 64
    turns = crowd.end(left)
    assert turns > 20
    both = [one + other for one, other in zip(first, crowd.got(), strict=True)]
    assert both == [[b'2["news"]', b'2["next"]']] * MANY
    assert crowd.node.counters.emit_deliveries == 2 * MANY


def test_messages_that_go_together_come_in_the_same_turns(crowd: Crowd) -> None:
    left = crowd.begin(EMIT, EMIT, BEHIND)
    first = crowd.got()
    assert 0 < first.count([b'2["news"]'] * 2) <= 64
    crowd.connections[-1].close(reasons.TRANSPORT_CLOSE)
    crowd.end(left)
    both = [one + other for one, other in zip(first, crowd.got(), strict=True)]
    assert both == [[b'2["news"]', b'2["news"]', b'2["next"]']] * (MANY - 1) + [[]]
    assert crowd.node.counters.emit_deliveries == 3 * (MANY - 1)


def test_many_messages_to_fewer_clients_take_turns_too(crowd: Crowd) -> None:
    """Where connections are congested each message is looked at: a hundred to all of them are 200,000."""
    for sid in crowd.sids[:100]:
        crowd.node.hub.execute([Join(sid, "some")])
    left = crowd.begin(*[Emit("/", b"2[%d]" % number, to=["some"]) for number in range(50)])
    turns = crowd.end(left)
    assert turns == 3  # behind the first one; 32 clients in each
    assert crowd.got() == [[b"2[%d]" % number for number in range(50)]] * 100 + [[]] * (MANY - 100)


def test_who_leaves_before_its_turn_gets_nothing(crowd: Crowd) -> None:
    left = crowd.begin(EMIT)
    crowd.connections[-1].close(reasons.TRANSPORT_CLOSE)
    crowd.end(left)
    assert crowd.got() == [[b'2["news"]']] * (MANY - 1) + [[]]
    assert crowd.node.counters.emit_deliveries == MANY - 1


def test_who_leaves_before_it_is_asked_will_not_answer(crowd: Crowd) -> None:
    """All are named at first. So whoever leaves is told of, and nobody waits for it."""
    left = crowd.begin(QUESTION)
    [(_, asked)] = crowd.node.asked
    assert sorted(asked.here) == sorted(crowd.sids)
    for connection in (crowd.connections[0], crowd.connections[-1]):  # one that was asked, and one that was not
        connection.close(reasons.TRANSPORT_CLOSE)
    crowd.end(left)
    assert crowd.node.unanswerable == [(crowd.sids[0], 5), (crowd.sids[-1], 5)]
    crowd.node.uplink.take()
    for connection in crowd.connections[1:-1]:
        crowd.node.receive(connection, "35[1]")
    answers = [fact.sid for fact in crowd.node.uplink.take() if isinstance(fact, AckReceived)]
    assert answers == crowd.sids[1:-1]


def test_another_connection_of_a_client_that_left_is_not_asked_in_its_place(crowd: Crowd) -> None:
    """It has claimed its session back, and waits for the application: what it missed comes from the log."""
    former, _ = claimed(crowd.node, FakeReplay(rooms=("all",)))
    crowd.node.hub.execute([Accept(OLD, 1)])
    left = crowd.begin(QUESTION)
    former.close(reasons.TRANSPORT_CLOSE)
    connection, client = claimed(crowd.node, FakeReplay(), generation=2)
    crowd.end(left)
    assert client.returning
    assert connection.take() == []
    assert crowd.node.unanswerable == [(OLD, 5)]


class Log(FakeReplay):
    """A log with one event in each entry, of which the client gets one in each turn."""

    def __init__(self) -> None:
        super().__init__(rooms=("all",))

    def events(self, after: Position | None, until: Position) -> Iterator[Outbound | None]:  # type: ignore[override]
        if after is None:
            yield Outbound(b'2["old"]', place=Position(1, 0, 0))
            yield None
        for command in range(3):
            place = Position(6, 0, command)
            if after is not None and after < place < until:
                yield Outbound(EMIT.packet, place=place)


@pytest.mark.parametrize("times", [1, 3])
async def test_who_catches_up_meanwhile_gets_it_once(crowd: Crowd, times: int) -> None:
    """It comes to its end between two turns, and has had all up to this command by then: from its log."""
    connection, client = claimed(crowd.node, Log())
    crowd.node.hub.begin(b"5-1")
    crowd.node.hub.execute([Accept(OLD, client.generation)])
    assert client.catching_up is not None
    crowd.node.hub.begin(b"6-0")
    left = crowd.begin(*[EMIT] * times)
    connection.take_all()
    while client.catching_up is not None:  # turns of the loop are what is wanted
        await asyncio.sleep(0)
    crowd.end(left)
    assert [packet[:8] for packet in connection.take() if b"news" in packet] == [b'2["news"'] * times
    crowd.node.hub.execute([BEHIND])
    assert len(connection.take()) == 1
