"""All that one process of the load generator measures. Users write into it, once a second and at the end it is read."""

import re
from collections import Counter

from loadtest.ledger.clock import Offset
from loadtest.ledger.histogram import Histogram
from loadtest.ledger.member import Clock, Member, Tally
from loadtest.ledger.publisher import Publisher
from loadtest.ledger.report import Final, SecondRow

SECONDS_KEPT = 600
"""Seconds that are kept while the master is away; the oldest go first, and are counted."""

_NODE_NAME = re.compile(r"([a-z0-9]{1,32})-[a-z2-7]{6}\.")


class Ledger:
    """`clock` is what all times here are of. One machine: its own clock; several: shifted, see `clock`."""

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

    def publisher(self, number: int) -> Publisher:
        publisher = Publisher(self.clock, number)
        self._publishers.append(publisher)
        return publisher

    def shift(self, shift_us: int) -> None:
        """From now on the clock is this machine's, shifted so far. What was noted already moves along."""
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
        """A client is in the namespace. `phases`: seconds that each took."""
        self.connects += not again
        self.reconnects += again
        self.clients += 1
        self.clients_max = max(self.clients_max, self.clients)
        found = _NODE_NAME.match(engine_sid)
        self.io_nodes[found[1] if found else "other"] += 1
        for phase, seconds in phases.items():
            self.phases.setdefault(phase, Histogram()).add_seconds(seconds)

    def disconnected(self, reason: str, *, asked: bool = False) -> None:
        """`asked`: the client or the scenario wanted it."""
        self.clients -= 1
        self.disconnects[reason] += 1
        self.unasked_disconnects += not asked

    def acked(self, event: str, after_us: int) -> None:
        self.acks.setdefault(event, Histogram()).add(after_us)

    def close_second(self, at: int, cpu_percent: float) -> SecondRow:
        """What happened since this was last called counts as the second `at`."""
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

    def take_seconds(self) -> list[SecondRow]:
        """The seconds that nobody has taken yet."""
        taken, self.seconds = self.seconds, []
        return taken

    def final(self) -> Final:
        """Everything, with the seconds that nobody has taken. What still waits for its ack is unanswered."""
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
            seconds=self.take_seconds(),
            seconds_dropped=self.seconds_dropped,
            offset_us=self.offset.offset_us,
            error_us=self.offset.error_us,
        )
