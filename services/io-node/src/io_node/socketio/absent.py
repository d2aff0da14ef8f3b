"""The clients of this home that are not here, and may come back: here, or to another io-node that then holds them.

Whatever is said of their rooms still comes through the inbox of this home. They are remembered with their rooms, so
that it is known whom the closing of a room concerns.

Each io-node that reads a home carries out the same commands in the same order. So they agree at each command on who has
to say that a client is not there: whoever had the connection that was let in last. That is `is_elsewhere` at others.
"""

from collections.abc import Callable, Collection, Iterable, Iterator

from sio_cluster.protocol.messages import Room

_NO_ROOMS: dict[Room, set[str]] = {}


class Absent:
    """Bound: an entry for each client that left and may come back. `forget_others` removes those that never will."""

    def __init__(self, clock: Callable[[], float], touched: set[Room] | None = None) -> None:
        """`clock` gives seconds. `touched` gets each room that has lost its last absent member."""
        self._clock = clock
        self._touched = touched
        self._clients: dict[str, tuple[str, set[Room], float]] = {}  # by sid: namespace, rooms, since when
        self._generations: dict[str, int] = {}  # by sid: of its last connection here
        self._let_in: dict[str, int] = {}  # by sid: of the newest connection that was let in, wherever it was
        self._elsewhere: set[str] = set()  # those for whom that one was at another io-node
        self._members: dict[str, dict[Room, set[str]]] = {}  # by namespace and room, those with members
        self._unknown: set[str] = set()  # those of whom nothing was known when they were let in elsewhere

    def __len__(self) -> int:
        return len(self._clients)

    def __contains__(self, sid: str) -> bool:
        return sid in self._clients

    def put(self, sid: str, namespace: str, rooms: set[Room], generation: int) -> None:
        """This client has left, and may come back. `generation`: that of the connection that has ended."""
        self.remove(sid)
        self._generations[sid] = self._let_in[sid] = generation
        self._clients[sid] = (namespace, rooms, self._clock())
        for room in rooms:
            self._add_member(namespace, room, sid)

    def remove(self, sid: str) -> None:
        """It is here again, or gone for good. Nothing happens if it was not absent."""
        if sid not in self._clients:
            return
        del self._generations[sid], self._let_in[sid]
        self._elsewhere.discard(sid)
        self._unknown.discard(sid)
        namespace, rooms, _ = self._clients.pop(sid)
        for room in rooms:
            self._remove_member(namespace, room, sid)

    def left_again(self, sid: str, generation: int) -> None:
        """It came back here, and left before it was let in."""
        self._generations[sid] = generation

    def let_in(self, sid: str, generation: int) -> None:
        """A connection of this client was let in that is not here: not any more, or it is elsewhere."""
        if sid not in self._clients:
            if not generation:
                return
            self.put(sid, "", set(), generation - 1)
            self._unknown.add(sid)
        if generation < self._let_in[sid]:
            return  # it came again, since an app-node died
        self._let_in[sid] = generation
        if generation > self._generations[sid]:
            self._elsewhere.add(sid)
        else:
            self._elsewhere.discard(sid)

    def is_elsewhere(self, sid: str) -> bool:
        """Whether it was let in at another io-node since it was here."""
        return sid in self._elsewhere

    def join(self, sid: str, room: Room) -> None:
        if sid in self._clients:
            namespace, rooms, _ = self._clients[sid]
            rooms.add(room)
            self._add_member(namespace, room, sid)

    def leave(self, sid: str, room: Room) -> None:
        if sid in self._clients:
            namespace, rooms, _ = self._clients[sid]
            if room in rooms:
                rooms.remove(room)
                self._remove_member(namespace, room, sid)

    def close(self, namespace: str, room: Room) -> Collection[str]:
        """Nobody is in this room any more. Returns who was."""
        sids = set(self._members_of(namespace, room))
        for sid in sids:
            self.leave(sid, room)
        return sids

    def asked(
        self, namespace: str, to: list[Room] | None, skip: Collection[str], except_rooms: Iterable[Room] = ()
    ) -> tuple[list[str], list[str]]:
        """Of those to whom this is said: who is at another io-node, and who is away."""
        sids = self._said_to(namespace, to)
        sids.difference_update(skip, *(self._members_of(namespace, room) for room in except_rooms))
        elsewhere = sids & self._elsewhere
        return sorted(elsewhere), sorted(sids - elsewhere)

    def _said_to(self, namespace: str, to: list[Room] | None) -> set[str]:
        if to is None:
            return {sid for sid, (name, _, _) in self._clients.items() if name == namespace}
        sids: set[str] = set()
        for room in to:
            sids.update(self._members_of(namespace, room))
            if room in self._clients and self._clients[str(room)][0] == namespace:
                sids.add(str(room))
        return sids

    def forget_others(self, known: Collection[str], for_s: float) -> None:
        """Forget who has been absent for so long and is not among those whom Redis still knows."""
        before = self._clock() - for_s
        for sid in [sid for sid, (_, _, since) in self._clients.items() if since < before and sid not in known]:
            self.remove(sid)

    @property
    def knows_all_rooms(self) -> bool:
        """Whether the rooms of each of these clients are known."""
        return not self._unknown

    def rooms(self) -> Iterator[Room]:
        """The rooms in which these clients are. One comes twice where it is one of two namespaces."""
        for rooms in self._members.values():
            yield from rooms

    def is_empty(self, room: Room) -> bool:
        """Whether none of these clients is in this room, in any namespace."""
        return not any(room in rooms for rooms in self._members.values())

    def _members_of(self, namespace: str, room: Room) -> Collection[str]:
        return self._members.get(namespace, _NO_ROOMS).get(room, ())

    def _add_member(self, namespace: str, room: Room, sid: str) -> None:
        self._members.setdefault(namespace, {}).setdefault(room, set()).add(sid)

    def _remove_member(self, namespace: str, room: Room, sid: str) -> None:
        rooms = self._members[namespace]
        rooms[room].remove(sid)
        if rooms[room]:
            return
        del rooms[room]
        if not rooms:
            del self._members[namespace]
        if self._touched is not None:
            self._touched.add(room)
