"""How one message goes out: a tight loop over all whom it concerns, or a step at a time where they are very many.

A message for many clients is one `Outbound`. Where it is a question, this says whom it has reached, if that is wanted,
and who cannot answer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from io_node.engineio.api import Bundle, Outbound, Sendable
from io_node.socketio.absent import Absent
from io_node.socketio.asked import AskedMany
from io_node.socketio.client import Client
from io_node.socketio.counters import ClientCounters
from io_node.socketio.namespace import Send
from io_node.socketio.rooms import Rooms
from io_node.tracing import Traces
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import AckRequest, Emit
from sio_cluster.protocol.recovery import Position

_AT_ONCE = 2_000
"""A message to more clients takes several turns of the event loop. To so many it takes 2 ms, a question 8 ms."""
_STEP = 32
"""So many clients are written to between two looks at the clock."""


def go_together(emit: Emit, following: Emit) -> bool:
    """Whether both are for the same clients, and nobody waits for an answer or traces them."""
    return (
        emit.namespace == following.namespace
        and emit.to == following.to
        and emit.skip == following.skip
        and emit.except_rooms == following.except_rooms
        and emit.ack is None
        and following.ack is None
        and emit.trace is None
        and following.trace is None
    )


class FanOut:
    """The way out of one hub. It looks into the hub's `clients` and `catching_up`, and changes neither.

    `catching_up`: those that do not have all yet that they missed. The others are those of the hub.
    """

    def __init__(
        self,
        clients: dict[str, Client],
        rooms: Rooms,
        catching_up: dict[str, None],
        *,
        absent: Absent,
        adopted: bool,
        counters: ClientCounters,
        on_unanswerable: Callable[[str, AckRequest], None],
        on_asked: Callable[[AckRequest, AskedMany], None],
        traces: Traces | None,
    ) -> None:
        self._clients = clients
        self._rooms = rooms
        self._catching_up = catching_up
        self._absent = absent
        self._adopted = adopted
        self._counters = counters
        self._on_unanswerable = on_unanswerable
        self._on_asked = on_asked
        self._traces = traces

    def emit(self, emit: Emit, place: Position | None) -> Iterator[None] | None:
        """Hands the message to all whom it concerns. `place`: in the log of the home; None where it is told no offset.

        Returns None where that is done. If it concerns many, returns the work that is left, a step at a time.
        """
        members = self._members(emit)
        if not members:
            if emit.ack is not None:
                self._asked_nobody(emit, emit.ack)
            return None
        if emit.ack is not None and emit.ack.names_asked:
            self._tell_asked(emit, emit.ack, members)
        alone = emit.to is not None and len(emit.to) == 1 and emit.to[0] in self._clients
        message = Outbound(emit.packet, emit.attachments, emit.volatile, place)
        on_end = None
        if emit.trace is not None and self._traces is not None:
            span = self._traces.deliver(emit.trace, emit.namespace, len(members))
            on_end = None if span is None else span.end
        if len(members) > _AT_ONCE:
            return self._send_to_many(list(members), message, 1, emit.ack, alone, on_end)
        if emit.ack is not None:
            for sid in members:
                if not self._clients[sid].expect_ack(emit.ack, alone=alone):
                    self._counters.forgotten_acks += 1
        self._send_to(members, message, 1)
        if on_end is not None:
            on_end()
        return None

    def emit_together(self, emits: Sequence[Emit], place: Position | None) -> Iterator[None] | None:
        """Does what `emit` does of each of these, in order: all of them `go_together`. `place`: of the first one."""
        members = self._members(emits[0])
        if not members:
            return None
        messages = []
        for emit in emits:
            messages.append(Outbound(emit.packet, emit.attachments, emit.volatile, place))
            place = None if place is None else Position(place.ms, place.number, place.command + 1)
        bundle = Bundle(messages)
        if len(members) * len(messages) > _AT_ONCE:  # where connections are congested, each message is looked at
            return self._send_to_many(list(members), bundle, len(messages), None, False, None)
        self._send_to(members, bundle, len(messages))
        return None

    def _members(self, emit: Emit) -> dict[str, Send] | None:
        namespace = self._rooms.namespaces.get(emit.namespace)
        return namespace.members(emit.to, emit.skip, emit.except_rooms) if namespace is not None else None

    def _send_to(self, members: dict[str, Send], message: Sendable, count: int) -> None:
        """`count`: how many messages it is."""
        self._counters.emit_deliveries += len(members) * count
        for send in list(members.values()):  # a copy: a send may close its connection, which removes its clients
            send(message)

    def _send_to_many(
        self,
        sids: list[str],
        message: Sendable,
        count: int,
        request: AckRequest | None,
        alone: bool,
        on_end: Callable[[], None] | None,
    ) -> Iterator[None]:
        """Sends what `emit` does, to some clients in each step. `sids`: whom the message concerns at its place.
        `count`: how many messages it is.

        Between two steps clients leave. Whoever leaves before its turn has left before the message: it may come back,
        and is told from the log; it will not answer. No client joins, since commands wait. One that is catching up may
        come to its end, and counts on having had all up to this command: so these come in the first step.
        """
        if self._catching_up:
            concerned = set(sids)
            first = [sid for sid in self._catching_up if sid in concerned]
            concerned.difference_update(first)
            for sid in first:
                self._send_one(sid, message, count, request, alone)
            sids = [sid for sid in sids if sid in concerned]
        for number, sid in enumerate(sids, 1):
            self._send_one(sid, message, count, request, alone)
            if number % _STEP == 0:
                yield
        if on_end is not None:
            on_end()

    def _send_one(self, sid: str, message: Sendable, count: int, request: AckRequest | None, alone: bool) -> None:
        client = self._clients.get(sid)
        if client is None or client.returning:  # in the latter case it has left, and waits to be let in again
            if request is not None and (alone or request.names_asked):
                self._on_unanswerable(sid, request)
            return
        if request is not None and not client.expect_ack(request, alone=alone):
            self._counters.forgotten_acks += 1
        self._counters.emit_deliveries += count
        client.send(message)

    def _tell_asked(self, emit: Emit, request: AckRequest, members: Iterable[str]) -> None:
        """Says whom this question reaches, before any of them can answer or leave."""
        elsewhere, away = self._absent.asked(emit.namespace, emit.to, emit.skip, emit.except_rooms)
        # Of who is at another io-node only the home's own hub knows enough.
        self._on_asked(request, AskedMany(list(members), [] if self._adopted else elsewhere, away))

    def _asked_nobody(self, emit: Emit, request: AckRequest) -> None:
        """Nobody here got this question. Says so where that is wanted, or if it was to one client, and it is on this
        node to know that."""
        if request.names_asked:
            self._tell_asked(emit, request, ())
            return
        room = emit.to[0] if emit.to is not None and len(emit.to) == 1 else None
        if not isinstance(room, str) or node_of(room) is None:
            return
        client = self._clients.get(room)
        if client is not None and not client.returning:
            if client.namespace != emit.namespace:  # else it is here, and was skipped
                self._on_unanswerable(room, request)
            return
        if not self._absent.is_elsewhere(room) and (not self._adopted or room in self._absent):
            self._on_unanswerable(room, request)
