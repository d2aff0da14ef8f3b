"""Rooms, and who gets what, against a naive model."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import (
    Accept,
    ClientDisconnected,
    CloseRoom,
    Disconnect,
    Emit,
    Join,
    Leave,
    Refuse,
    Room,
)

from .fakes import FakeConnection, Node

ROOMS: list[Room] = ["red", "blue", 1, "1"]
NAMESPACES = ["/", "/chat"]


class RoomsMachine(RuleBasedStateMachine):
    """Random joins, leaves, closes and emits; the model is a plain set of rooms for each client."""

    sids = Bundle("sids")

    def __init__(self) -> None:
        super().__init__()
        self.node = Node()
        self.rooms: dict[str, set[Room]] = {}
        self.namespace: dict[str, str] = {}
        self.connection: dict[str, FakeConnection] = {}
        self.pending: set[str] = set()
        self.expected: dict[str, list[bytes]] = {}
        self.gone: list[str] = []
        self.emitted = 0

    @rule(target=sids, namespace=st.sampled_from(NAMESPACES), both=st.booleans())
    def connect(self, namespace: str, both: bool) -> object:
        connection = self.node.connect()
        sids = []
        for name in NAMESPACES if both else [namespace]:
            sid = self.node.pending(connection, name)
            self.rooms[sid], self.namespace[sid], self.connection[sid] = set(), name, connection
            self.expected[sid] = []
            self.pending.add(sid)
            sids.append(sid)
        return multiple(*sids)

    @rule(sid=sids)
    def accept(self, sid: str) -> None:
        self.node.hub.execute([Accept(sid)])
        self.pending.discard(sid)

    @rule(sid=sids, room=st.sampled_from(ROOMS))
    def join(self, sid: str, room: Room) -> None:
        self.node.hub.execute([Join(sid, room)])
        if sid in self.rooms:
            self.rooms[sid].add(room)

    @rule(sid=sids, room=st.sampled_from(ROOMS))
    def leave(self, sid: str, room: Room) -> None:
        self.node.hub.execute([Leave(sid, room)])
        if sid in self.rooms:
            self.rooms[sid].discard(room)

    @rule(namespace=st.sampled_from(NAMESPACES), room=st.sampled_from(ROOMS))
    def close_room(self, namespace: str, room: Room) -> None:
        self.node.hub.execute([CloseRoom(namespace, room)])
        for sid, rooms in self.rooms.items():
            if self.namespace[sid] == namespace:
                rooms.discard(room)

    @rule(
        namespace=st.sampled_from(NAMESPACES),
        to=st.none() | st.lists(st.sampled_from(ROOMS), max_size=3),
        whom=st.lists(sids, max_size=2),
        skip=st.lists(sids, max_size=2),
        times=st.integers(1, 3),
        then=st.none() | st.sampled_from(ROOMS),
    )
    def emit(
        self,
        namespace: str,
        to: list[Room] | None,
        whom: list[str],
        skip: list[str],
        times: int,
        then: Room | None,
    ) -> None:
        """Several times to the same, which may go together, and once to another room."""
        rooms = None if to is None else [*to, *whom]
        emits = [self.said(namespace, rooms, skip) for _ in range(times)]
        if then is not None:
            emits.append(self.said(namespace, [then], skip))
        self.node.hub.execute(emits)

    def said(self, namespace: str, rooms: list[Room] | None, skip: list[str]) -> Emit:
        """One more emit, which those expect whom it is for."""
        self.emitted += 1
        prefix = "" if namespace == "/" else f"{namespace},"
        packet = f"2{prefix}[{self.emitted}]".encode()
        for sid, joined in self.rooms.items():
            wanted = rooms is None or any(room in joined or room == sid for room in rooms)
            if self.namespace[sid] == namespace and wanted and sid not in skip:
                self.expected[sid].append(packet)
        return Emit(namespace, packet, to=rooms, skip=skip)

    @rule(sid=sids)
    def refuse(self, sid: str) -> None:
        if sid in self.pending:
            self.node.hub.execute([Refuse(sid, b"{}")])
            self.forget(sid)

    @rule(sid=consumes(sids))
    def disconnect(self, sid: str) -> None:
        self.node.hub.execute([Disconnect(sid)])
        if sid in self.rooms:
            self.gone.append(sid)
            self.forget(sid)

    @rule(sid=sids)
    def close(self, sid: str) -> None:
        connection = self.connection[sid]
        connection.close(reasons.TRANSPORT_CLOSE)
        for other in [other for other in self.rooms if self.connection[other] is connection]:
            self.gone.append(other)
            self.forget(other)

    def forget(self, sid: str) -> None:
        del self.rooms[sid]
        self.pending.discard(sid)

    @invariant()
    def everyone_got_what_the_model_says(self) -> None:
        for sid in self.rooms:
            if sid in self.pending:
                continue
            prefix = b"2[" if self.namespace[sid] == "/" else b"2/chat,["
            got = [packet for packet in self.connection[sid].sent if packet.startswith(prefix)]
            assert got == self.expected[sid]

    @invariant()
    def each_that_left_is_told_once(self) -> None:
        told = [fact.sid for _, fact in self.node.uplink.facts if isinstance(fact, ClientDisconnected)]
        assert len(told) <= len(self.gone)
        self.node.uplink.facts.clear()
        for sid in told:
            self.gone.remove(sid)
        assert self.gone == []
        assert len(self.node.hub) == len(self.rooms)


TestRooms = RoomsMachine.TestCase
TestRooms.settings = settings(max_examples=6 * settings().max_examples // 10, stateful_step_count=40, deadline=None)
