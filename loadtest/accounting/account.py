"""All that one process of the load generator measures. Users write into it; it is read each second."""

import re
from array import array
from collections import Counter

from loadtest.accounting import message
from loadtest.accounting.clock import Clock, Offset
from loadtest.accounting.histogram import Histogram
from loadtest.accounting.member import Member, Tally
from loadtest.accounting.worker_report import Beat, Emits, Final, SecondRow

SECONDS_KEPT = 600
"""Seconds that are kept while the master is away. Older ones are dropped, and counted in `seconds_dropped`."""

_NODE_NAME = re.compile(r"([a-z0-9]{1,32})-[a-z2-7]{6}\.")


class Account:
    """The counters of one process, its members and its publishers. All times are of `clock`."""

    def __init__(self, machine: str, namespace: str) -> None:
        self.machine = machine
        self.clock = Clock()
        self.offset = Offset()
        self.tally = Tally(self.clock, namespace)
        self.acks: dict[str, Histogram] = {}
        self.phases: dict[str, Histogram] = {}
        self.lag = Histogram()
        self.connects = 0
        self.reconnects = 0
        self.clients = 0
        self.clients_max = 0
        self.absent = 0
        self.failed: Counter[str] = Counter()
        self.disconnects: Counter[str] = Counter()
        self.io_nodes: Counter[str] = Counter()
        self.not_published: Counter[str] = Counter()
        self.emits = 0
        self.waiting: Counter[str] = Counter()  # acks under way, by event
        self.unanswered: Counter[str] = Counter()
        self.unasked_disconnects = 0
        self.deliveries = 0  # up to the last second read
        self.seconds: list[SecondRow] = []
        self.seconds_dropped = 0
        self._emits_read = 0
        self._publishers: list[Publisher] = []

    def member(self, number: int) -> Member:
        return Member(self.tally, number)

    def publisher(self, number: int) -> "Publisher":
        publisher = Publisher(self.clock, number)
        self._publishers.append(publisher)
        return publisher

    def shift(self, shift_us: int) -> None:
        """Sets the clock to this machine's plus `shift_us`. Times that were noted before move along."""
        by_us = shift_us - self.clock.shift_us
        for place in self.tally.places:
            place.move(by_us)
        for publisher in self._publishers:
            publisher.move(by_us)
        self.clock.shift_us = shift_us

    def heard(self) -> int:
        """Deliveries so far."""
        return self.deliveries + sum(sum(meter.counts) for meter in self.tally.meters.values())

    def connected(self, engine_sid: str, phases: dict[str, float], *, again: bool) -> None:
        """A client is in the namespace. `phases` has the seconds that each phase of the connect took."""
        self.connects += not again
        self.reconnects += again
        self.clients += 1
        self.clients_max = max(self.clients_max, self.clients)
        found = _NODE_NAME.match(engine_sid)
        self.io_nodes[found[1] if found else "other"] += 1
        for phase, seconds in phases.items():
            self.phases.setdefault(phase, Histogram()).add_seconds(seconds)

    def disconnected(self, reason: str, *, asked: bool = False) -> None:
        """A client left the namespace. `asked`: the client or the scenario wanted it."""
        self.clients -= 1
        self.disconnects[reason] += 1
        self.unasked_disconnects += not asked

    def acked(self, event: str, after_us: int) -> None:
        self.acks.setdefault(event, Histogram()).add(after_us)

    def close_second(self, at: int, cpu_percent: float) -> SecondRow:
        """Ends the second `at`: all that happened since the last call belongs to it."""
        row = SecondRow(at, self.emits - self._emits_read, clients=self.clients, gaps=self.tally.gaps)
        row.cpu_percent, row.disconnects = cpu_percent, self.unasked_disconnects
        self._emits_read = self.emits
        for transport, meter in self.tally.meters.items():
            counts, meter.counts = meter.counts, Histogram().counts
            row.bytes += meter.bytes
            meter.bytes = 0
            sparse = {bucket: count for bucket, count in enumerate(counts) if count}
            if sparse:
                row.latencies[transport] = sparse
                self.deliveries += sum(sparse.values())
        self.seconds.append(row)
        if len(self.seconds) > SECONDS_KEPT:
            del self.seconds[0]
            self.seconds_dropped += 1
        return row

    def take_beat(self) -> Beat:
        """The seconds that were not taken yet, for the master."""
        return Beat(self._take_seconds(), self.machine, self.offset.offset_us, self.offset.error_us)

    def final(self) -> Final:
        """Everything, with the seconds that were not taken yet. An ack that is still waited for is unanswered."""
        return Final(
            machine=self.machine,
            stays=[place.row() for place in self.tally.places],
            emits=[row for publisher in self._publishers for row in publisher.rows()],
            acks={event: histogram.sparse() for event, histogram in self.acks.items()},
            phases={phase: histogram.sparse() for phase, histogram in self.phases.items()},
            connected=self.connects,
            reconnected=self.reconnects,
            failed=dict(self.failed),
            disconnects=dict(self.disconnects),
            io_nodes=dict(self.io_nodes),
            clients_max=self.clients_max,
            lags=self.lag.sparse(),
            early=self.tally.early,
            not_published=dict(self.not_published),
            absent=self.absent,
            others=self.tally.others,
            unanswered=dict(self.unanswered + self.waiting),
            unasked_disconnects=self.unasked_disconnects,
            seconds=self._take_seconds(),
            seconds_dropped=self.seconds_dropped,
            offset_us=self.offset.offset_us,
            error_us=self.offset.error_us,
        )

    def _take_seconds(self) -> list[SecondRow]:
        taken, self.seconds = self.seconds, []
        return taken


class Publisher:
    """What one simulated browser published: when each emit was sent, and when the application acked it.

    Memory: 16 bytes per emit, until the run ends.
    """

    __slots__ = ("_acked", "_clock", "_sent", "number")

    def __init__(self, clock: Clock, number: int) -> None:
        self.number = number
        self._clock = clock
        self._sent: dict[int, array[int]] = {}
        self._acked: dict[int, array[int]] = {}

    def stamp(self, room: int, size: int) -> tuple[int, str]:
        """The sequence number and the text of the next message. It counts as emitted from now on, acked or not."""
        if room not in self._sent:
            self._sent[room] = array("q")
            self._acked[room] = array("q")
        sent = self._sent[room]
        seq = len(sent)
        at_us = self._clock.now_us()
        sent.append(max(at_us, sent[-1]) if sent else at_us)
        self._acked[room].append(0)
        return seq, message.pack(self.number, room, seq, at_us, size)

    def acked(self, room: int, seq: int) -> None:
        """The application says that it has emitted this message to the room."""
        self._acked[room][seq] = self._clock.now_us()

    def move(self, by_us: int) -> None:
        """Moves all its times: the clock was set forward by so much. Messages that are sent keep their time."""
        for room, sent in self._sent.items():
            self._sent[room] = array("q", (at + by_us for at in sent))
            self._acked[room] = array("q", (at and at + by_us for at in self._acked[room]))

    def rows(self) -> list[Emits]:
        return [Emits(self.number, room, list(sent), list(self._acked[room])) for room, sent in self._sent.items()]
