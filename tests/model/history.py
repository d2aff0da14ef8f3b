"""What each handler and each client saw, checked against the promises.

Who holds a lease is taken from the simulated Redis: a handler may start only on the app-node whose lease stands
there.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from sio_cluster.protocol.ids import is_quarantine, lane_behind, quarantine_of
from sio_cluster.protocol.messages import ClientDisconnected, EventReceived, Fact

GRACE_S = 6.0
"""Seconds after a fault in which it still excuses a repetition: a lease has to run out, a backoff to end."""

PLANNED_PAUSE_S = 1.0
"""Seconds that an event may wait while app-nodes come and go as planned."""


@dataclass
class Run:
    """One call of an event's handler."""

    seq: int
    node: str
    token: int
    redelivered: bool
    started_at: float
    finished: bool = False


@dataclass
class ClientRecord:
    """One client, as the handlers and the client itself saw it."""

    sid: str
    lane: int
    sent_at: list[float] = field(default_factory=list)  # of each event that the io-node took
    runs: list[Run] = field(default_factory=list)
    cut_short: set[tuple[int, int]] = field(default_factory=set)  # (seq, token): a planned handover gave that run up
    raising: set[int] = field(default_factory=set)
    running: Counter[str] = field(default_factory=Counter)  # handlers in progress, by node
    connects: int = 0
    connected_at: set[int] = field(default_factory=set)  # tokens under which a connect handler ran
    disconnected_at: set[int] = field(default_factory=set)  # and a disconnect handler
    disconnects: list[str] = field(default_factory=list)
    accepted: bool = False
    left: bool = False
    lost: bool = False  # its io-node died
    roams: bool = False  # it claims its session back, and sends no events
    turns: list[str] = field(default_factory=list)  # of such a client: "connect" and "disconnect", as they were handled
    cut: bool = False  # refused or disconnected, since a connect or restore of it was set aside
    aside: set[int] = field(default_factory=set)  # events that were set aside
    among_events: set[int] = field(default_factory=set)  # events in entries that have nothing but events
    done: set[int] = field(default_factory=set)  # those of them whose answer is in Redis
    disconnect_aside: bool = False
    emitted: int = 0
    emits: list[tuple[int, int]] = field(default_factory=list)  # (serial, seq) as the client saw them
    answers: Counter[int] = field(default_factory=Counter)

    @property
    def sent(self) -> int:
        return len(self.sent_at)

    @property
    def started(self) -> set[int]:
        return {run.seq for run in self.runs}

    @property
    def finished(self) -> set[int]:
        return {run.seq for run in self.runs if run.finished}


class History:
    """Gathers violations instead of raising them: inside a handler they would count as the handler's own errors."""

    def __init__(
        self, now: Callable[[], float], lease_of: Callable[[int], tuple[str, int] | None], *, serial: bool
    ) -> None:
        self._now = now
        self._lease_of = lease_of
        self._serial = serial
        self.clients: dict[str, ClientRecord] = {}
        self.acted: dict[int, list[tuple[int, str]]] = defaultdict(list)  # lane or quarantine: (token, node)
        self.violations: list[str] = []
        self.is_frozen: Callable[[str], bool] = lambda _: False
        self.fault_until = float("-inf")
        self.is_calm = False
        self.handler_starts = 0
        self.duplicates = 0
        self.takeovers = 0
        self.later_pages = 0  # of what a former holder left, after the first
        self.asides = 0

    def violated(self, what: str) -> None:
        self.violations.append(f"{self._now():.4f}: {what}")

    def check(self) -> None:
        assert not self.violations, "\n".join(self.violations[:10])

    def fault(self) -> None:
        """Notes that a fault is there now."""
        self.fault_until = max(self.fault_until, self._now())

    # --- handlers

    def act(self, node: str, number: int, client: ClientRecord, what: str) -> int:
        """Notes the start of a handler, for its lane or its quarantine: `number`.

        Returns the token of its app-node's lease: below 0 for a quarantine, 0 where it has none.
        """
        lease = self._lease_of(number)
        if lease is None or lease[0] != node:
            self.violated(f"{what} of {client.sid} starts on {node}, and lane {number} is {lease}")
            return 0
        if lane_behind(number) != client.lane:
            self.violated(f"{what} of {client.sid} starts on {node} for lane {number}")
        token = -lease[1] if is_quarantine(number) else lease[1]
        acted = self.acted[number]
        if not acted or acted[-1] != (token, node):
            self.takeovers += bool(acted)
            acted.append((token, node))
        for other in client.running:
            if other != node and client.running[other] and not self.is_frozen(other):
                self.violated(f"{what} of {client.sid} starts on {node} while {other} runs a handler of it")
        return token

    def connect(self, node: str, number: int, sid: str, *, is_reconnect: bool, redelivered: bool) -> None:
        client = self.clients[sid]
        token = self.act(node, number, client, "connect")
        if client.roams:
            if not is_reconnect:
                self._take_turn(client, "connect", redelivered)
            return
        client.connected_at.add(token)
        if not is_reconnect:
            client.connects += 1
            if client.connects > 1 and not self._is_excused(None):
                self.violated(f"connect of {sid} ran twice")
            if any(run.token == token for run in client.runs):
                self.violated(f"connect of {sid} after its events")

    def disconnect(self, node: str, number: int, sid: str, reason: str, *, redelivered: bool) -> None:
        client = self.clients[sid]
        token = self.act(node, number, client, "disconnect")
        if client.roams:
            self._take_turn(client, "disconnect", redelivered)
            return
        client.disconnected_at.add(token)
        client.disconnects.append(reason)
        if len(client.disconnects) > 1 and not self._is_excused(None):
            self.violated(f"disconnect of {sid} ran twice")
        if missing := set(range(client.sent)) - client.started - client.aside:
            self.violated(f"disconnect of {sid} before its events {sorted(missing)}")

    def _take_turn(self, client: ClientRecord, what: str, redelivered: bool) -> None:
        """Connect and disconnect alternate. After a fault the last one may come again, and somebody says so."""
        if not client.turns and what == "disconnect":
            self.violated(f"disconnect of {client.sid} before its connect")
        if client.turns[-1:] == [what]:
            if not redelivered:
                self.violated(f"{what} of {client.sid} again, and nobody says so")
            if not self._is_excused(None):
                self.violated(f"{what} of {client.sid} again, and nothing had failed")
        client.turns.append(what)

    def start(self, node: str, number: int, sid: str, seq: int, redelivered: bool) -> Run:
        client = self.clients[sid]
        token = self.act(node, number, client, f"event {seq}")
        run = Run(seq, node, token, redelivered, self._now())
        self.handler_starts += 1
        earlier = [other for other in client.runs if other.seq == seq]
        before = set(range(seq)) - client.started - client.aside
        if not earlier and (before or any(later > seq for later in client.started)):
            self.violated(f"event {seq} of {sid} starts before {before or 'earlier ones'}")
        waited_s = self._now() - client.sent_at[seq]
        if self.is_calm and not self._serial and not earlier and waited_s > PLANNED_PAUSE_S:
            self.violated(f"event {seq} of {sid} waited {waited_s:.3f} s, and nothing had failed")
        if seq in client.done:
            self.violated(f"event {seq} of {sid} again on {node}, and its answer was there")
        if earlier:
            self.duplicates += 1
            if not redelivered:
                self.violated(f"event {seq} of {sid} again on {node}, and nobody says so")
            if (seq, earlier[-1].token) not in client.cut_short and not self._is_excused(earlier[-1].started_at):
                self.violated(f"event {seq} of {sid} again on {node}, and nothing had failed")
        if any(other.token == token and other.seq >= seq for other in client.runs):
            self.violated(f"event {seq} of {sid} is out of order on {node}")
        if token not in client.connected_at:
            self.violated(f"event {seq} of {sid} on {node}, which never heard of the client")
        if token in client.disconnected_at or (client.disconnects and not earlier):
            self.violated(f"event {seq} of {sid} after its disconnect")
        client.runs.append(run)
        client.running[node] += 1
        return run

    def end(self, node: str, sid: str) -> None:
        self.clients[sid].running[node] -= 1

    def died(self, node: str) -> None:
        for client in self.clients.values():
            del client.running[node]

    def cut_short(self, number: int, token: int, left: Iterable[Fact]) -> None:
        """A planned handover gave up what was left of a lane or a quarantine: SHUTDOWN_MS were over.

        So runs of these events that began under this token may be repeated, and no others.
        """
        if self.is_calm:
            self.violated(f"the handover of {number} was cut short, and no handler is slow")
        signed = -token if is_quarantine(number) else token
        for fact in left:
            if isinstance(fact, EventReceived) and fact.ack_id is not None:
                self.clients[fact.sid].cut_short.add((fact.ack_id, signed))

    def next_serial(self, sid: str) -> int:
        client = self.clients[sid]
        client.emitted += 1
        return client.emitted

    # --- output

    def answered(self, node: str, sid: str, seq: int, token: int) -> None:
        """As `landed`: the answer to an event. It is the last output of its handler, so the event is done.

        That is promised for entries that wait for nothing but output. A connect waits for its record too.
        """
        self.landed(node, sid, token)
        client = self.clients[sid]
        client.done |= client.among_events & {seq}

    def sent(self, facts: Sequence[Fact]) -> None:
        """An entry of these facts is in a lane."""
        if all(isinstance(fact, EventReceived) for fact in facts):
            for fact in facts:
                if isinstance(fact, EventReceived) and fact.ack_id is not None:
                    self.clients[fact.sid].among_events.add(fact.ack_id)

    def landed(self, node: str, sid: str | int, token: int) -> None:
        """Output of a handler that started under this token is in the client's inbox now."""
        client = self.clients[str(sid)]
        number = client.lane if token > 0 else quarantine_of(client.lane)
        for later, other in self.acted[number]:
            if abs(later) > abs(token) and other != node:
                self.violated(f"output of {node} for {sid} lands after {other} acted ({token} < {later})")
                return

    def saw_emit(self, sid: str | int, packet: bytes) -> None:
        _, [seq, _, serial] = json.loads(packet[packet.index(b"[") :])
        emits = self.clients[str(sid)].emits
        if any(serial == seen for seen, _ in emits):
            self.violated(f"{sid} got emit {serial} twice")
        if self._serial and emits and emits[-1][0] > serial:
            self.violated(f"{sid} got emit {serial} after {emits[-1][0]}")
        emits.append((serial, seq))

    def saw_answer(self, sid: str, packet: bytes) -> None:
        start = packet.index(b"[")
        client, seq = self.clients[sid], int(packet[1:start])
        client.answers[seq] += 1
        if not json.loads(packet[start:]):  # an event that is set aside: that follows
            client.aside.add(seq)
            return
        if client.answers[seq] > 1 and sum(run.seq == seq for run in client.runs) < client.answers[seq]:
            self.violated(f"{sid} got the answer to {seq} twice from one run")

    def cut(self, sid: str) -> None:
        """The client was refused or disconnected, since its connect or its restore is about to be set aside."""
        self.clients[sid].cut = True
        if self.is_calm:
            self.violated(f"{sid} was cut, and nothing had failed")

    def set_aside(self, fact: Fact) -> None:
        """A fact became a dead letter."""
        self.asides += 1
        if self.is_calm:
            self.violated(f"{fact} was set aside, and nothing had failed")
        match fact:
            case EventReceived(sid=sid, ack_id=int(seq)):
                self.clients[sid].aside.add(seq)
            case ClientDisconnected(sid=sid):
                self.clients[sid].disconnect_aside = True

    # --- at the end

    def check_all(self) -> None:
        """Checks, when all faults are over, that everything promised has come."""
        for client in self.clients.values():
            events = set(range(client.sent))
            if client.cut or client.roams:  # `Roamers.check` looks at these
                continue
            events -= client.aside
            if missing := events - client.started:
                self.violated(f"events {sorted(missing)} of {client.sid} were never handled")
            if client.left and client.accepted and not client.disconnects and not client.disconnect_aside:
                self.violated(f"{client.sid} left, and no disconnect came")
            if client.disconnects and not (client.left or client.lost):
                self.violated(f"{client.sid} got a disconnect and had not left")
            if client.left or client.lost:
                continue
            answered = events - client.raising
            if not client.accepted:
                self.violated(f"{client.sid} was never let in")
            if missing := answered - client.finished:
                self.violated(f"events {sorted(missing)} of {client.sid} were begun and never finished")
            if missing := answered - set(client.answers):
                self.violated(f"events {sorted(missing)} of {client.sid} were never answered")
            if missing := events - {seq for _, seq in client.emits}:
                self.violated(f"{client.sid} never got what {sorted(missing)} emitted")
        self.check()

    def _is_excused(self, since: float | None) -> bool:
        """Whether a fault explains a repetition of what began at this moment (None: at any)."""
        return self.fault_until + GRACE_S >= (self._now() - GRACE_S if since is None else since)
