"""Who of a home's clients is in which room: carries out Join, Leave and CloseRoom, and those of many clients.

The holder of a client's lane may not know that a room of the client has changed. It is told by a RoomChanged. Once that
has happened, several app-nodes change this room of this client, in an order that only this hub knows. So from then on
the holder is told of every change of it, also of its own: the last thing that it hears is what is so here.
"""

from collections.abc import Callable, Iterator, Sequence

from io_node.socketio.absent import Absent
from io_node.socketio.client import Client
from io_node.socketio.counters import ClientCounters
from io_node.socketio.namespace import Namespace
from sio_cluster.protocol.messages import Room, RoomChanged


class Rooms:
    """The namespaces of a hub, with the rooms of its clients.

    `find` gives the client of a sid, or counts that it is unknown. `on_changed` and `on_op` are the hub's
    `on_room_changed` and `on_room_op`. `touched` gets each room that may have got its first member or lost the last
    one.
    """

    def __init__(
        self,
        find: Callable[[str], Client | None],
        *,
        counters: ClientCounters,
        absent: Absent,
        on_changed: Callable[[int, RoomChanged], None],
        on_op: Callable[[str, Room, bool], None],
        touched: set[Room] | None = None,
    ) -> None:
        self.namespaces: dict[str, Namespace] = {}
        self._find = find
        self._counters = counters
        self._absent = absent
        self._on_changed = on_changed
        self._on_op = on_op
        self._touched = touched

    def wait(self, client: Client) -> None:
        """A client is a member of its namespace, and of no room."""
        self._namespace(client.namespace).everyone[client.sid] = client.send

    def enter(self, client: Client) -> None:
        """From now on a client is written to by `client.send`, in its namespace and in its rooms."""
        namespace = self._namespace(client.namespace)
        namespace.everyone[client.sid] = client.send
        for room in client.rooms:
            namespace.enter(room, client.sid, client.send)

    def remove(self, client: Client) -> None:
        """The client is a member of nothing any more."""
        sid = client.sid
        namespace = self.namespaces.get(client.namespace)
        if namespace is not None and sid in namespace.everyone:
            del namespace.everyone[sid]
            for room in client.rooms:
                namespace.leave(room, sid)
            if not namespace.everyone:
                del self.namespaces[client.namespace]

    def join(self, sid: str, room: Room, tell: bool) -> None:
        """Carry out a Join."""
        if room == sid:
            return
        self._on_op(sid, room, True)
        self._absent.join(sid, room)
        client = self._find(sid)
        if client is None:
            if self._touched is not None:
                self._touched.add(room)
            return
        if tell or (client.told is not None and room in client.told):
            self.tell(client, room, inside=True)
        if room in client.rooms or client.returning:
            return
        client.rooms.add(room)
        self.namespaces[client.namespace].enter(room, sid, client.send)

    def leave(self, sid: str, room: Room, tell: bool) -> None:
        """Carry out a Leave."""
        if room == sid:
            return
        self._on_op(sid, room, False)
        self._absent.leave(sid, room)
        client = self._find(sid)
        if client is None:
            return
        if tell or (client.told is not None and room in client.told):
            self.tell(client, room, inside=False)
        if room in client.rooms:
            client.rooms.remove(room)
            self.namespaces[client.namespace].leave(room, sid)

    def join_many(self, sids: Sequence[str], rooms: Sequence[Room]) -> Iterator[None]:
        """Carry out a JoinMany, one client in each step."""
        for sid in sids:
            for room in rooms:
                self.join(sid, room, tell=True)
            yield

    def leave_many(self, sids: Sequence[str], rooms: Sequence[Room]) -> Iterator[None]:
        """Carry out a LeaveMany, one client in each step."""
        for sid in sids:
            for room in rooms:
                self.leave(sid, room, tell=True)
            yield

    def close(self, name: str, room: Room, clients: dict[str, Client]) -> Iterator[None]:
        """Carry out a CloseRoom. The members are told of one in each step, behind the first."""
        lost: list[Client] = []
        for sid in self._absent.close(name, room):
            self._on_op(sid, room, False)
        namespace = self.namespaces.get(name)
        for sid in namespace.close(room) if namespace is not None else ():
            self._on_op(sid, room, False)
            client = clients[sid]
            client.rooms.remove(room)
            lost.append(client)
        for client in lost:
            if client.sid in clients:
                self.tell(client, room, inside=False)
            yield

    def tell(self, client: Client, room: Room, *, inside: bool) -> None:
        """The holder of the client's lane must know this."""
        if client.told is None:
            client.told = set()
        client.told.add(room)
        self._counters.rooms_changed += 1
        self._on_changed(client.lane, RoomChanged(client.sid, room, inside))

    def _namespace(self, name: str) -> Namespace:
        namespace = self.namespaces.get(name)
        if namespace is None:
            namespace = self.namespaces[name] = Namespace(self._touched)
        return namespace
