"""Rooms, and who gets what."""

from collections.abc import Iterable, Iterator

import pytest

from io_node.engineio.api import Outbound
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import (
    Accept,
    AckReceived,
    AckRequest,
    Canary,
    ClientDisconnected,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectMany,
    Emit,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Refuse,
    Room,
    RoomChanged,
)

from .fakes import FakeConnection, Node


class Clients:
    """Four joined clients of the main namespace and one of another."""

    def __init__(self) -> None:
        self.node = Node()
        self.connections: dict[str, FakeConnection] = {}
        self.sids: dict[str, str] = {}
        for name in ("ann", "bob", "cem", "dan"):
            self.add(name, "/")
        self.add("eve", "/other")

    def add(self, name: str, namespace: str) -> None:
        connection = self.node.connect()
        self.sids[name] = self.node.pending(connection, namespace)
        self.connections[name] = connection
        self.do(Accept(self.sids[name]))
        connection.take()

    @property
    def lanes(self) -> dict[str, int]:
        return {client.sid: client.lane for client in self.node.hub.clients()}

    def do(self, *commands: Command) -> None:
        self.node.hub.execute(commands)

    def got(self, *, packet: bytes = b"2[1]") -> str:
        """The initials of those who got the packet once; capital where they got it more often."""
        initials = ""
        for name, connection in self.connections.items():
            count = connection.take().count(packet)
            initials += "" if count == 0 else name[0] if count == 1 else name[0].upper()
        return initials


@pytest.fixture
def clients() -> Clients:
    return Clients()


def emit(
    to: list[Room] | None = None, skip: Iterable[str] = (), namespace: str = "/", except_rooms: Iterable[Room] = ()
) -> Emit:
    return Emit(namespace, b"2[1]", to=to, skip=list(skip), except_rooms=list(except_rooms))


def test_everyone_of_the_namespace(clients: Clients) -> None:
    clients.do(emit())
    assert clients.got() == "abcd"
    clients.do(emit(namespace="/other"))
    assert clients.got() == "e"
    clients.do(emit(namespace="/nobody"))
    assert clients.got() == ""


def test_all_get_one_message_that_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[Outbound] = []
    monkeypatch.setattr(FakeConnection, "send", lambda _, message: messages.append(message))
    clients = Clients()
    messages.clear()
    clients.do(emit())
    assert len(messages) == 4
    for other in messages[1:]:
        assert other.ws_frames is messages[0].ws_frames
        assert other.polling_packets is messages[0].polling_packets


def test_rooms(clients: Clients) -> None:
    sids = clients.sids
    clients.do(Join(sids["ann"], "red"), Join(sids["bob"], "red"), Join(sids["bob"], "blue"), Join(sids["cem"], 42))
    clients.do(emit(["red"]))
    assert clients.got() == "ab"
    clients.do(emit(["red", "blue", 42]))
    assert clients.got() == "abc"
    clients.do(emit([42]))
    assert clients.got() == "c"
    clients.do(emit(["42"]))
    assert clients.got() == ""
    clients.do(emit([]))
    assert clients.got() == ""
    clients.do(emit(["red"], namespace="/other"))
    assert clients.got() == ""


def test_which_rooms_have_members(clients: Clients) -> None:
    """A room is touched when it gets its first member, and when it loses the last one."""
    sids, hub, touched = clients.sids, clients.node.hub, clients.node.touched

    def touches(*commands: Command) -> set[Room]:
        clients.do(*commands)
        rooms = set(touched)
        touched.clear()
        return rooms

    assert touches(Join(sids["ann"], "red")) == {"red"}
    assert touches(Join(sids["bob"], "red"), Join(sids["ann"], "red")) == set()
    assert touches(JoinMany([sids["eve"], sids["cem"]], ["red", 42])) == {"red", 42}
    assert set(hub.rooms()) == {"red", 42}
    assert touches(Leave(sids["ann"], "red"), Leave(sids["ann"], "red"), Leave(sids["cem"], 42)) == {42}
    assert not hub.is_empty(42), "eve is in it, in another namespace"
    assert hub.is_empty("42")
    assert touches(CloseRoom("/", "red")) == {"red"}
    assert not hub.is_empty("red")
    assert touches(Join("io1-aaaaaa.nobody", "blue")) == {"blue"}
    assert hub.is_empty("blue")
    clients.connections["eve"].close(reasons.TRANSPORT_CLOSE)
    assert touches() == {"red", 42}
    assert set(hub.rooms()) == set()


def test_a_sid_is_a_room(clients: Clients) -> None:
    sids = clients.sids
    clients.do(emit([sids["dan"]]))
    assert clients.got() == "d"
    clients.do(Join(sids["ann"], sids["dan"]), emit([sids["dan"]]))
    assert clients.got() == "ad"
    clients.do(Leave(sids["dan"], sids["dan"]), CloseRoom("/", sids["dan"]), emit([sids["dan"]]))
    assert clients.got() == "d"
    clients.do(emit([sids["eve"]]))
    assert clients.got() == ""


def test_skip(clients: Clients) -> None:
    sids = clients.sids
    clients.do(emit(skip=[sids["ann"], sids["bob"], "nobody"]))
    assert clients.got() == "cd"
    clients.do(Join(sids["ann"], "red"), emit(["red", sids["ann"]], skip=[sids["ann"]]))
    assert clients.got() == ""


def test_excepted_rooms(clients: Clients) -> None:
    sids = clients.sids
    clients.do(Join(sids["ann"], "red"), Join(sids["bob"], "red"), Join(sids["bob"], "blue"), Join(sids["cem"], "blue"))
    clients.do(emit(except_rooms=["red"]))
    assert clients.got() == "cd"
    clients.do(emit(["red", "blue", sids["bob"]], except_rooms=["blue", 7]))
    assert clients.got() == "a"
    clients.do(emit(["red"], except_rooms=["red"]), emit([sids["dan"]], except_rooms=[sids["dan"]]))
    assert clients.got() == ""
    clients.do(emit(["red"], [sids["ann"]], except_rooms=["nobody"]))
    assert clients.got() == "b"


def test_an_exception_counts_at_its_place_in_the_inbox(clients: Clients) -> None:
    ann = clients.sids["ann"]
    clients.do(emit(except_rooms=["red"]), Join(ann, "red"), emit(except_rooms=["red"]), Leave(ann, "red"))
    assert clients.got() == "aBCD"
    clients.do(emit(except_rooms=["red"]))
    assert clients.got() == "abcd"


def test_leave_and_close_room(clients: Clients) -> None:
    sids = clients.sids
    for name in ("ann", "bob", "cem"):
        clients.do(Join(sids[name], "red"), Join(sids[name], "red"), Join(sids[name], "blue"))
    clients.do(Leave(sids["ann"], "red"), Leave(sids["ann"], "red"), Leave(sids["ann"], "never"), emit(["red"]))
    assert clients.got() == "bc"
    clients.do(CloseRoom("/other", "red"), CloseRoom("/nobody", "red"), emit(["red"]))
    assert clients.got() == "bc"
    clients.do(CloseRoom("/", "red"), CloseRoom("/", "red"), emit(["red"]))
    assert clients.got() == ""
    clients.do(emit(["blue"]))
    assert clients.got() == "abc"


def test_the_holder_is_told_of_rooms_that_it_may_not_know(clients: Clients) -> None:
    sids, lanes, told = clients.sids, clients.lanes, clients.node.told
    ann, bob, eve = sids["ann"], sids["bob"], sids["eve"]
    clients.do(Join(ann, "red"), Join(bob, "red", True), Leave(ann, "never", True), Join("nobody", "red", True))
    clients.do(Join(eve, "red"), Join(ann, ann, True))
    assert told == [(lanes[bob], RoomChanged(bob, "red", True)), (lanes[ann], RoomChanged(ann, "never", False))]
    told.clear()
    clients.do(Join(bob, "red", True), CloseRoom("/", "red"), CloseRoom("/", "red"))
    assert told == [
        (lanes[bob], RoomChanged(bob, "red", True)),
        (lanes[ann], RoomChanged(ann, "red", False)),
        (lanes[bob], RoomChanged(bob, "red", False)),
    ]
    assert clients.node.counters.rooms_changed == 5


def test_a_large_room_is_closed_in_turns(clients: Clients) -> None:
    """Nobody hears anything that came behind the command before all holders are told."""
    sids, told = clients.sids, clients.node.told
    clients.do(*[Join(sids[name], "red") for name in ("ann", "bob", "cem", "dan")])
    behind = [emit(["red"]), emit([sids["ann"]])]
    commands: Iterator[Command] = iter([CloseRoom("/", "red"), *behind])
    turns = 0
    while not clients.node.hub.execute(commands, lambda: True):
        turns += 1
        assert len(told) <= turns
        if turns == 1:
            assert not clients.connections["ann"].take()
            clients.node.hub.remove(clients.node.hub.clients()[1])  # bob leaves
    assert turns > 4
    assert [fact.sid for _, fact in told] == [sids["ann"], sids["cem"], sids["dan"]]
    assert clients.got() == "a"


def test_many_enter_and_leave_and_are_disconnected(clients: Clients) -> None:
    ann, bob, cem, dan, _ = clients.sids.values()
    lanes, told = clients.lanes, clients.node.told
    gone = f"{ann.partition('.')[0]}.nobodynobody0000"
    clients.node.uplink.take()
    clients.do(JoinMany([ann, gone, bob, ann], ["red", 7, ann]), emit(["red"]), emit([7]), emit([ann]))
    assert clients.got() == "AB"
    rooms: tuple[Room, ...] = ("red", 7, ann)
    of_bob = [(lanes[bob], RoomChanged(bob, room, True)) for room in rooms]
    of_ann = [(lanes[ann], RoomChanged(ann, room, True)) for room in rooms if room != ann]
    assert told == [*of_ann, *of_bob, *of_ann]
    clients.do(Join(bob, ann), LeaveMany([ann, bob, cem], ["red", "never", ann]), emit(["red"]), emit([ann]))
    assert clients.got() == "a"
    clients.node.uplink.take()
    clients.do(DisconnectMany([bob, gone, dan]), emit())
    assert clients.got() == "ac"
    facts = clients.node.uplink.take()
    assert facts == [ClientDisconnected(sid, reasons.SERVER_DISCONNECT) for sid in (bob, dan)]
    clients.do(DisconnectMany([ann], close=True))
    assert clients.connections["ann"].closed == reasons.SERVER_DISCONNECT


@pytest.mark.parametrize("kind", [JoinMany, LeaveMany])
def test_many_take_turns(clients: Clients, kind: type[JoinMany | LeaveMany]) -> None:
    """Nothing that comes behind is carried out before the last of them, and no turn does more than one."""
    sids = [clients.sids[name] for name in ("ann", "bob", "cem")]
    clients.do(*(Join(sid, "red") for sid in sids if kind is LeaveMany))
    commands: Iterator[Command] = iter([kind(sids, ["red"]), emit(["red"])])
    turns = 0
    while not clients.node.hub.execute(commands, lambda: True):
        turns += 1
        assert len(clients.node.told) == min(turns, 3)
        if turns <= 3:
            assert clients.got() == ""
    assert clients.got() == ("abc" if kind is JoinMany else "")
    assert turns >= 4


def test_many_are_disconnected_in_turns(clients: Clients) -> None:
    sids = [clients.sids[name] for name in ("ann", "bob", "cem")]
    commands: Iterator[Command] = iter([DisconnectMany(sids), emit()])
    assert not clients.node.hub.execute(commands, lambda: True)
    assert [sid for sid in sids if sid in clients.node.hub] == sids[1:]
    while not clients.node.hub.execute(commands, lambda: True):
        pass
    assert clients.got() == "d"


def test_once_told_the_holder_hears_of_every_change(clients: Clients) -> None:
    """Else it could not know which of several app-nodes has changed the room last."""
    ann, node = clients.sids["ann"], clients.node
    clients.do(Join(ann, "red"), Leave(ann, "red"), Join(ann, "blue"))
    assert node.told == []
    clients.do(LeaveMany([ann], ["red"]), Join(ann, "red"), CloseRoom("/", "blue"), Join(ann, "blue"), Leave(ann, "x"))
    changes: list[tuple[Room, bool]] = [("red", False), ("red", True), ("blue", False), ("blue", True)]
    assert [fact for _, fact in node.told] == [RoomChanged(ann, room, inside) for room, inside in changes]


def test_a_pending_client_is_a_member(clients: Clients) -> None:
    connection = clients.node.connect()
    sid = clients.node.pending(connection)
    clients.do(Join(sid, "red"), emit(["red"]), emit(), emit([sid]))
    assert connection.take() == []
    clients.do(Accept(sid))
    assert connection.take()[1:] == [b"2[1]"] * 3
    clients.do(emit(["red"]), emit(), emit([sid]))
    assert connection.take() == [b"2[1]"] * 3


def test_commands_for_those_who_left_are_counted(clients: Clients) -> None:
    sid = clients.sids["ann"]
    clients.connections["ann"].close(reasons.TRANSPORT_CLOSE)
    before = clients.node.counters.unknown_sid
    clients.do(Accept(sid), Refuse(sid, b"{}"), Join(sid, "x"), Leave(sid, "x"), Disconnect(sid), Disconnect(sid, True))
    assert clients.node.counters.unknown_sid == before + 6
    clients.do(emit([sid]), emit())
    assert clients.got() == "bcd"


def test_a_member_that_closes_while_it_is_written_to(clients: Clients) -> None:
    for name in clients.sids:
        clients.do(Join(clients.sids[name], "red"))
    clients.connections["bob"].close_on_send = True
    clients.do(emit(["red"]))
    assert clients.got() == "abcd"
    assert clients.connections["bob"].closed == reasons.SLOW_CONSUMER
    clients.do(emit(["red"]))
    assert clients.got() == "acd"


def test_a_broadcast_that_asks_for_answers(clients: Clients) -> None:
    clients.do(Emit("/", b'29["q"]', ack=AckRequest("app1-bbbbbb", 9)))
    for name in ("ann", "bob"):
        clients.node.receive(clients.connections[name], f'39["{name}"]')
    assert clients.node.uplink.facts == [
        ("app1-bbbbbb", AckReceived(clients.sids["ann"], 9, b'["ann"]')),
        ("app1-bbbbbb", AckReceived(clients.sids["bob"], 9, b'["bob"]')),
    ]


def test_canary(clients: Clients) -> None:
    clients.do(Canary(7))
    assert clients.node.canaries == [Canary(7)]


def test_nothing_is_left_of_those_who_left(clients: Clients) -> None:
    for name, connection in clients.connections.items():
        clients.do(Join(clients.sids[name], "red"))
        connection.close(reasons.TRANSPORT_CLOSE)
    assert len(clients.node.hub) == 0
    assert clients.node.hub._rooms.namespaces == {}
