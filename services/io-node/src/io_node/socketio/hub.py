"""Knows this node's clients and their rooms, and carries out the commands of app-nodes.

A message for many clients is one `Outbound`, handed to each of them in one tight loop. Each client has a room of its
own, named by its sid, which it never leaves. A pending client is a member of its rooms like others: it holds messages
back until it is accepted.
"""

from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeAlias, assert_never

import structlog

from io_node.engineio.api import Outbound
from io_node.socketio.client import Client, Session
from io_node.socketio.counters import ClientCounters
from sio_cluster.protocol.ids import RandomBytes, lane_of, new_sid
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    Canary,
    ClientConnected,
    CloseRoom,
    Command,
    Disconnect,
    Emit,
    Join,
    Leave,
    Refuse,
    Room,
    RoomChanged,
)
from sio_cluster.protocol.socketio import Connect

log = structlog.get_logger()

Send: TypeAlias = Callable[[Outbound], None]


class _Namespace:
    __slots__ = ("everyone", "rooms")

    def __init__(self) -> None:
        self.everyone: dict[str, Send] = {}
        self.rooms: dict[Room, dict[str, Send]] = {}


_NOBODY: dict[str, Send] = {}


class Hub:
    """The clients of this io-node.

    `on_canary` gets each Canary that comes through the inbox. `on_phantom` gets the sid of each client
    that the application accepts though it is not here. Such a client left before. If an app-node died between the
    client's connect and its disconnect, nobody else tells the application that it is gone. `on_room_changed` gets a
    fact for the lane of a client whose holder may not know that a room of the client has changed.
    """

    def __init__(
        self,
        node_id: str,
        lanes: int,
        *,
        random_bytes: RandomBytes,
        counters: ClientCounters,
        on_canary: Callable[[Canary], None] = lambda canary: None,
        on_phantom: Callable[[str], None] = lambda sid: None,
        on_room_changed: Callable[[int, RoomChanged], None] = lambda lane, fact: None,
    ) -> None:
        self.counters = counters
        self._on_canary = on_canary
        self._on_phantom = on_phantom
        self._on_room_changed = on_room_changed
        self._node_id = node_id
        self._lanes = lanes
        self._random_bytes = random_bytes
        self._clients: dict[str, Client] = {}
        self._namespaces: dict[str, _Namespace] = {}
        self._untold: deque[tuple[Client, Room]] = deque()  # those who left a room that is being closed

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, sid: str) -> bool:
        return sid in self._clients

    @property
    def held(self) -> int:
        """How many messages are held back for pending clients."""
        return sum(client.held for client in self._clients.values())

    def clients(self) -> list[Client]:
        """All clients that are pending or joined now."""
        return list(self._clients.values())

    # --- for sessions

    def new_client(self, session: Session, connect: Connect) -> Client:
        """A client with a fresh sid. It is not a member yet: `add` it when the application is told of it."""
        connection = session.connection
        sid = new_sid(self._node_id, self._random_bytes)
        connected = ClientConnected(
            sid, session.name, connect.namespace, connect.auth, connection.handshake, connection.transport
        )
        return Client(session, connected, lane_of(sid, self._lanes))

    def add(self, client: Client) -> None:
        """From now on this pending client is a member of its namespace."""
        sid = client.sid
        self._clients[sid] = client
        namespace = self._namespaces.get(client.namespace)
        if namespace is None:
            namespace = self._namespaces[client.namespace] = _Namespace()
        namespace.everyone[sid] = client.send
        log.debug("client_connecting", sid=sid, namespace=client.namespace, lane=client.lane)

    def remove(self, client: Client) -> None:
        """Forget the client and its rooms."""
        sid = client.sid
        del self._clients[sid]
        namespace = self._namespaces[client.namespace]
        del namespace.everyone[sid]
        for room in client.rooms:
            self._remove_member(namespace, room, sid)
        if not namespace.everyone:
            del self._namespaces[client.namespace]
        log.debug("client_removed", sid=sid, namespace=client.namespace, lane=client.lane)

    # --- for the downlink

    def execute(self, commands: Iterable[Command], is_over: Callable[[], bool] = lambda: False) -> bool:
        """Carry out commands in order. A sid that is not here is counted and no error: clients leave at any time.

        `is_over` is asked after each command, and after each member of a room that is closed. When it says yes, the
        method returns False, and `commands`, an iterator, still holds the rest: call it again. True: all commands are
        carried out.
        """
        if not self._tell_members(is_over):
            return False
        for command in commands:
            match command:
                case Emit():
                    self._emit(command)
                case Ack(sid, packet, attachments):
                    if (client := self._find(sid)) is not None:
                        self.counters.acks_sent += 1
                        client.send(Outbound(packet, attachments))
                case Accept(sid):
                    self._accept(sid)
                case Refuse(sid, data):
                    self._refuse(sid, data)
                case Join(sid, room, tell):
                    self._join(sid, room, tell)
                case Leave(sid, room, tell):
                    self._leave(sid, room, tell)
                case CloseRoom(namespace, room):
                    self._close_room(namespace, room)
                case Disconnect(sid, close):
                    self._disconnect(sid, close)
                case Canary():
                    self.counters.canaries += 1
                    self._on_canary(command)
                case _:
                    assert_never(command)
            if (self._untold and not self._tell_members(is_over)) or is_over():
                return False
        return True

    def _find(self, sid: str) -> Client | None:
        client = self._clients.get(sid)
        if client is None:
            self.counters.unknown_sid += 1
        return client

    def _emit(self, emit: Emit) -> None:
        self.counters.emits += 1
        namespace = self._namespaces.get(emit.namespace)
        if namespace is None:
            return
        members = self._members(namespace, emit.to)
        if emit.skip:
            skip = set(emit.skip)
            members = {sid: send for sid, send in members.items() if sid not in skip}
        if not members:
            return
        if emit.ack is not None:
            alone = emit.to is not None and len(emit.to) == 1 and emit.to[0] in self._clients
            for sid in members:
                if not self._clients[sid].expect_ack(emit.ack, alone=alone):
                    self.counters.forgotten_acks += 1
        message = Outbound(emit.packet, emit.attachments, emit.volatile)
        self.counters.emit_deliveries += len(members)
        for send in list(members.values()):  # a copy: a send may close its connection, which removes its clients
            send(message)

    def _members(self, namespace: _Namespace, to: list[Room] | None) -> dict[str, Send]:
        """The members of these rooms, each once. The caller must not change the dict: it may be the room itself."""
        if to is None:
            return namespace.everyone
        if len(to) == 1:
            return self._room(namespace, to[0])
        union: dict[str, Send] = {}
        for room in to:
            union.update(self._room(namespace, room))
        return union

    def _room(self, namespace: _Namespace, room: Room) -> dict[str, Send]:
        members = namespace.rooms.get(room, _NOBODY)
        own = namespace.everyone.get(room) if isinstance(room, str) else None
        if own is None:
            return members
        return {**members, str(room): own}

    def _accept(self, sid: str) -> None:
        client = self._find(sid)
        if client is None:
            self.counters.phantoms += 1
            self._on_phantom(sid)
            return
        if client.joined:
            return  # the command came again after a redelivery
        self.counters.accepted += 1
        client.accept()
        if client.sid not in self._clients:
            return  # what was held back overflowed the connection, which closed
        namespace = self._namespaces[client.namespace]
        namespace.everyone[client.sid] = client.send
        for room in client.rooms:
            namespace.rooms[room][client.sid] = client.send

    def _refuse(self, sid: str, data: bytes) -> None:
        client = self._find(sid)
        if client is None:
            return
        if client.joined:
            log.warning("refused_too_late", sid=client.sid, lane=client.lane)
            client.session.disconnect(client)
        else:
            client.session.refuse(client, data)

    def _join(self, sid: str, room: Room, tell: bool) -> None:
        client = self._find(sid)
        if client is None or room == sid:
            return
        if tell:
            self._tell(client, room, inside=True)
        if room in client.rooms:
            return
        client.rooms.add(room)
        rooms = self._namespaces[client.namespace].rooms
        members = rooms.get(room)
        if members is None:
            members = rooms[room] = {}
        members[sid] = client.send

    def _leave(self, sid: str, room: Room, tell: bool) -> None:
        client = self._find(sid)
        if client is None:
            return
        if tell:
            self._tell(client, room, inside=False)
        if room in client.rooms:
            client.rooms.remove(room)
            self._remove_member(self._namespaces[client.namespace], room, sid)

    def _close_room(self, name: str, room: Room) -> None:
        namespace = self._namespaces.get(name)
        for sid in namespace.rooms.pop(room, _NOBODY) if namespace is not None else ():
            client = self._clients[sid]
            client.rooms.remove(room)
            self._untold.append((client, room))

    def _tell_members(self, is_over: Callable[[], bool]) -> bool:
        """Tell of the members of a room that was closed. False where `is_over` came before the last one."""
        while self._untold:
            client, room = self._untold.popleft()
            if client.sid in self._clients:
                self._tell(client, room, inside=False)
            if self._untold and is_over():
                return False
        return True

    def _tell(self, client: Client, room: Room, *, inside: bool) -> None:
        self.counters.rooms_changed += 1
        self._on_room_changed(client.lane, RoomChanged(client.sid, room, inside))

    def _disconnect(self, sid: str, close: bool) -> None:
        client = self._find(sid)
        if client is None:
            return
        if close:
            client.session.disconnect_all()
        else:
            client.session.disconnect(client)

    @staticmethod
    def _remove_member(namespace: _Namespace, room: Room, sid: str) -> None:
        members = namespace.rooms[room]
        del members[sid]
        if not members:
            del namespace.rooms[room]
