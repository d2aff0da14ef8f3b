"""Knows this node's clients and their rooms, and carries out the commands of app-nodes.

Each client has a room of its own, named by its sid, which it never leaves. A pending client is a member of its rooms
like others: it holds messages back until it is accepted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, assert_never

import structlog

from io_node.engineio.api import Outbound
from io_node.socketio.absent import Absent
from io_node.socketio.asked import AskedMany
from io_node.socketio.client import Client, Replay
from io_node.socketio.counters import ClientCounters
from io_node.socketio.fan_out import FanOut, go_together
from io_node.socketio.rooms import Rooms
from io_node.tracing import Traces
from io_node.turns import Turns
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    AckRequest,
    Canary,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectMany,
    Emit,
    Evict,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Refuse,
    Room,
    RoomChanged,
)
from sio_cluster.protocol.recovery import Position, encode_offset, position_of

log = structlog.get_logger()

_MOST_TOGETHER: Final = 100
"""So many emits are carried out as one."""
_MOST_BYTES_TOGETHER: Final = 65_536
"""And not many more bytes than that."""


class Hub:
    """The clients of one home that this io-node holds.

    The hub of the node's own home knows who is `absent`. Each other hub belongs to a home whose clients came back to
    this node (`adopted`): most clients of that home are elsewhere, so commands for them are no surprise there. It
    remembers as absent those that were here.

    `on_canary` gets each Canary that comes through the inbox. `on_phantom` gets the sid of each client
    that the application accepts though it is not here, and whether it may come back. Such a client left before. If an
    app-node died between the client's connect and its disconnect, nobody else tells the application that it is gone.
    `on_room_changed` gets a fact for the lane of a client whose holder may not know that a room of the client has
    changed. `on_evict` gets each Evict. `on_room_op` gets sid, room, and whether the client is inside now: all that the
    inbox says about the rooms of this home's clients, wherever they are. A client enters the room of its own when it is
    accepted. `on_unanswerable` gets sid and request of each question to one client that will not be answered: the
    client is gone, and no other io-node has it. It also gets each client that has gone without an answer to a question
    whose app-node wants to know whom it has asked. `on_asked` gets each such question, with whom it has reached.
    `touched` gets each room that may have got its first member or lost the last one.
    `traces` makes the spans of what is traced. None: there are none.
    """

    def __init__(
        self,
        *,
        counters: ClientCounters,
        absent: Absent,
        turns: Turns,
        adopted: bool = False,
        on_canary: Callable[[Canary], None] = lambda canary: None,
        on_phantom: Callable[[str, bool], None] = lambda sid, comes_back: None,
        on_room_changed: Callable[[int, RoomChanged], None] = lambda lane, fact: None,
        on_evict: Callable[[Evict], None] = lambda evict: None,
        on_room_op: Callable[[str, Room, bool], None] = lambda sid, room, inside: None,
        on_unanswerable: Callable[[str, AckRequest], None] = lambda sid, request: None,
        on_asked: Callable[[AckRequest, AskedMany], None] = lambda request, asked: None,
        traces: Traces | None = None,
        touched: set[Room] | None = None,
    ) -> None:
        self.counters = counters
        self.absent = absent
        self._adopted = adopted
        self._turns = turns
        self._on_canary = on_canary
        self._on_phantom = on_phantom
        self._on_evict = on_evict
        self._on_room_op = on_room_op
        self._on_unanswerable = on_unanswerable
        self._traces = traces
        self._clients: dict[str, Client] = {}
        self._rooms = Rooms(
            self._find,
            counters=counters,
            absent=self.absent,
            on_changed=on_room_changed,
            on_op=on_room_op,
            touched=touched,
        )
        self._catching_up: dict[str, None] = {}  # those that do not have all yet that they missed
        self._fan_out = FanOut(
            self._clients,
            self._rooms,
            self._catching_up,
            absent=absent,
            adopted=adopted,
            counters=counters,
            on_unanswerable=on_unanswerable,
            on_asked=on_asked,
            traces=traces,
        )
        self._place: Position | None = None  # of the entry
        self._index = -1  # of the command in its entry
        self._ahead: Command | None = None  # the next one, if it was looked at already
        self._rest: Iterator[None] | None = None  # of that command, if it concerns many: a step for each client

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

    def rooms(self) -> Iterator[Room]:
        """The rooms in which clients are that are here, without their own. One of two namespaces comes twice."""
        for namespace in self._rooms.namespaces.values():
            yield from namespace.rooms

    def is_empty(self, room: Room) -> bool:
        """Whether no client that is here is in this room, in any namespace."""
        return not any(room in namespace.rooms for namespace in self._rooms.namespaces.values())

    def own_text(self, sid: str) -> str:
        """The object that the client of this sid has for it. `sid` itself if the client is not here."""
        client = self._clients.get(sid)
        return sid if client is None else client.sid

    # --- for sessions

    @property
    def offset(self) -> str:
        here = self._here
        return "" if here is None else encode_offset(here._replace(command=max(here.command, 0))).decode()

    def add(self, client: Client) -> None:
        """From now on this pending client belongs to its namespace.

        One that has claimed its session back is a member of nothing until it is accepted: it is told from the log.
        """
        self._clients[client.sid] = client
        if client.replay is None:
            self._rooms.wait(client)
        log.debug("client_connecting", sid=client.sid, namespace=client.namespace, lane=client.lane)

    def remove(self, client: Client, *, comes_back: bool = False) -> None:
        """Forget the client and its rooms. `comes_back`: it may claim its session back."""
        sid = client.sid
        del self._clients[sid]
        self._catching_up.pop(sid, None)
        self._rooms.remove(client)
        if not comes_back and not self._adopted:
            self.absent.remove(sid)
        elif sid in self.absent:
            self.absent.left_again(sid, client.generation)
        else:
            self.absent.put(sid, client.namespace, client.rooms, client.generation)
        for request in client.unanswered():
            self._on_unanswerable(sid, request)
        log.debug("client_removed", sid=sid, namespace=client.namespace, lane=client.lane)

    def evict(self, evict: Evict) -> None:
        """Close the connection of this client, if it is one of this generation or an older one."""
        client = self._clients.get(evict.sid)
        if client is not None and client.generation <= evict.generation:
            log.info("client_evicted", sid=evict.sid, generation=client.generation)
            client.session.evict()

    # --- for the downlink

    def begin(self, entry_id: bytes) -> None:
        """The commands that `execute` gets from now on are those of this entry, from the first on."""
        self._place = position_of(entry_id, 0)
        self._index = -1
        self._ahead = None

    def execute(self, commands: Iterable[Command], is_over: Callable[[], bool] = lambda: False) -> bool:
        """Carry out commands in order. A sid that is not here is counted and no error: clients leave at any time.

        Emits that follow each other and go together count as one command. `is_over` is asked after each command, and in
        the midst of one that concerns many. When it says yes, the method returns False: call it again with the same
        iterator. True: all commands are carried out.
        """
        rooms = self._rooms
        if not self._carry_on(is_over):
            return False
        commands = iter(commands)
        while (command := self._next(commands)) is not None:
            self._index += 1
            match command:
                case Emit():
                    self._emit(command, commands)
                case Ack():
                    self._ack(command)
                case Accept(sid, generation):
                    self._accept(sid, generation)
                case Refuse(sid, data, generation):
                    self._refuse(sid, data, generation)
                case Join(sid, room, tell):
                    rooms.join(sid, room, tell)
                case Leave(sid, room, tell):
                    rooms.leave(sid, room, tell)
                case JoinMany(sids, many):
                    self._rest = rooms.join_many(sids, many)
                case LeaveMany(sids, many):
                    self._rest = rooms.leave_many(sids, many)
                case CloseRoom(namespace, room):
                    self._rest = rooms.close(namespace, room, self._clients)
                case Disconnect(sid, close):
                    self._disconnect(sid, close)
                case DisconnectMany(sids, close):
                    self._rest = self._disconnect_many(sids, close)
                case Evict():
                    self._on_evict(command)
                case Canary():
                    self.counters.canaries += 1
                    self._on_canary(command)
                case _:
                    assert_never(command)
            if (self._rest is not None and not self._carry_on(is_over)) or is_over():
                return False
        return True

    def _next(self, commands: Iterator[Command]) -> Command | None:
        ahead, self._ahead = self._ahead, None
        return next(commands, None) if ahead is None else ahead

    def _emit(self, emit: Emit, commands: Iterator[Command]) -> None:
        """Emits this, and what follows and goes together with it."""
        place = self._here
        emits, size = [emit], len(emit.packet)
        while len(emits) < _MOST_TOGETHER and size < _MOST_BYTES_TOGETHER:
            following = self._ahead = next(commands, None)
            if not isinstance(following, Emit) or not go_together(emit, following):
                break
            self._ahead = None
            self._index += 1
            emits.append(following)
            size += len(following.packet) + sum(map(len, following.attachments))
        self.counters.emits += len(emits)
        if len(emits) > 1:
            self._rest = self._fan_out.emit_together(emits, place)
        else:
            # The client takes the function that answers for the last argument, and not an offset.
            self._rest = self._fan_out.emit(emit, place if emit.ack is None else None)

    def _carry_on(self, is_over: Callable[[], bool]) -> bool:
        """The rest of a command that concerns many. False where `is_over` came before its end."""
        if self._rest is not None:
            for _ in self._rest:
                if is_over():
                    return False
            self._rest = None
        return True

    def _find(self, sid: str) -> Client | None:
        client = self._clients.get(sid)
        if client is None and not self._adopted and sid not in self.absent:
            self.counters.unknown_sid += 1
        return client

    def _find_generation(self, sid: str, generation: int) -> Client | None:
        """The client, if it is here as the connection that is meant. An older one is closed: another took its place."""
        client = self._find(sid)
        if client is None or client.generation == generation:
            return client
        self.evict(Evict(sid, generation - 1))
        return None

    @property
    def _here(self) -> Position | None:
        """The place of this command in the log of the home. None where there is no log."""
        place = self._place
        return None if place is None else Position(place.ms, place.number, self._index)

    def _ack(self, ack: Ack) -> None:
        client = self._find(ack.sid)
        if client is None:
            return
        if client.returning:  # an answer to its former connection, which forgot the question with its end
            self.counters.unknown_sid += 1
            return
        self.counters.acks_sent += 1
        span = None
        if ack.trace is not None and self._traces is not None:
            span = self._traces.deliver(ack.trace, client.namespace, 1, is_answer=True)
        client.send(Outbound(ack.packet, ack.attachments))
        if span is not None:
            span.end()

    def _accept(self, sid: str, generation: int) -> None:
        self._on_room_op(sid, sid, True)
        if sid not in self._clients and not generation and not self._adopted:
            self.counters.phantoms += 1
            self._on_phantom(sid, sid in self.absent)
        client = self._find_generation(sid, generation)
        if client is None:
            self._not_here(sid, generation)
            return
        if client.joined:
            return  # the command came again after a redelivery
        self.counters.accepted += 1
        if client.replay is not None:
            self._catch_up(client, client.replay)
        else:
            client.accept()
        if client.sid not in self._clients:
            return  # what was held back or missed overflowed the connection, which closed
        self.absent.remove(sid)
        self._rooms.enter(client)

    def _not_here(self, sid: str, generation: int) -> None:
        """This connection was let in, and is gone, or elsewhere."""
        if sid not in self._clients and (not self._adopted or sid in self.absent):
            self.absent.let_in(sid, generation)

    def _catch_up(self, client: Client, replay: Replay) -> None:
        """It gets what it missed, and is in the rooms in which it is by now."""
        client.rooms, closed = replay.rooms(self._reached())
        for room in closed:
            self._rooms.tell(client, room, inside=False)
        self.counters.recovered += 1
        client.catch_up(replay, self._reached, self._turns, lambda: self._go_live(client))
        if client.catching_up is not None and client.sid in self._clients:
            self._catching_up[client.sid] = None

    def _go_live(self, client: Client) -> None:
        self._catching_up.pop(client.sid, None)
        client.go_live()
        self._rooms.enter(client)

    def _reached(self) -> Position:
        """The place of the command that is carried out, or was the last one."""
        here = self._here
        assert here is not None
        return here

    def _refuse(self, sid: str, data: bytes, generation: int) -> None:
        client = self._find_generation(sid, generation)
        if client is None:
            return
        if client.joined:
            log.warning("refused_too_late", sid=client.sid, lane=client.lane)
            client.session.disconnect(client)
        else:
            client.session.refuse(client, data)

    def _disconnect_many(self, sids: Sequence[str], close: bool) -> Iterator[None]:
        for sid in sids:
            self._disconnect(sid, close)
            yield

    def _disconnect(self, sid: str, close: bool) -> None:
        client = self._find(sid)
        if client is None:
            return
        if close:
            client.session.disconnect_all()
        else:
            client.session.disconnect(client)
