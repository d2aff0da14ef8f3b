"""A whole run, put together from what its workers report. A single process reports to itself."""

import math
from collections import Counter
from dataclasses import dataclass, field

from loadtest.accounting.generator import GeneratorLimits, judge_generator
from loadtest.accounting.histogram import merged, quantiles
from loadtest.accounting.result import Connects, Integrity, Knee, Quantiles, Result, Second, Snapshot, Totals, Worker
from loadtest.accounting.settle import settle
from loadtest.accounting.worker_report import Beat, Final, SecondRow

Options = dict[str, str | int | float | bool | None]


@dataclass(slots=True)
class _Sum:
    """One second over all workers."""

    emits: int = 0
    bytes: int = 0
    clients: int = 0
    latencies: list[dict[int, int]] = field(default_factory=list)


@dataclass(slots=True)
class _Seen:
    """What a worker has reported so far."""

    machine: str
    clients_max: int = 0
    cpu: list[float] = field(default_factory=list)  # percent, for each second with clients
    gaps: int = 0
    disconnects: int = 0
    offset_us: int | None = None
    error_us: int = 0
    last: int = 0  # its latest second
    final: Final | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """The sum of some seconds."""

    seconds: int
    emits: int
    deliveries: int
    clients: int  # at most
    latency: Quantiles


class Run:
    """Takes the reports of all workers with `beat` and `final`. It can be asked at any time.

    Seconds are counted since the epoch. `began`, where it is asked for, is the second in which the run started.
    """

    def __init__(self, limits: GeneratorLimits | None = None) -> None:
        self.limits = limits or GeneratorLimits()
        self._sums: dict[int, _Sum] = {}
        self._workers: dict[str, _Seen] = {}
        self._by_transport: dict[str, dict[int, int]] = {}
        self._late: set[str] = set()

    def expect(self, worker: str, machine: str) -> None:
        """Names a worker of this run. It counts as missing until its final report is here."""
        self._workers.setdefault(worker, _Seen(machine))

    def beat(self, worker: str, beat: Beat) -> None:
        seen = self._workers.setdefault(worker, _Seen(beat.machine))
        seen.machine, seen.offset_us, seen.error_us = beat.machine, beat.offset_us, beat.error_us
        for row in beat.seconds:
            self._add(seen, row)

    def final(self, worker: str, final: Final) -> None:
        self.beat(worker, Beat(final.seconds, final.machine, final.offset_us, final.error_us))
        self._workers[worker].final = final

    def came_late(self, worker: str) -> None:
        """This worker came after the run had begun, so it takes no part."""
        self._late.add(worker)

    def has_final(self, worker: str) -> bool:
        return worker in self._workers and self._workers[worker].final is not None

    def offsets(self) -> dict[str, tuple[int, int]]:
        """The best (offset, error) of each machine in microseconds. Machines that have none yet are left out."""
        best: dict[str, tuple[int, int]] = {}
        for seen in self._workers.values():
            if seen.offset_us is not None and (seen.machine not in best or seen.error_us < best[seen.machine][1]):
                best[seen.machine] = (seen.offset_us, seen.error_us)
        return best

    def machines(self) -> set[str]:
        return {seen.machine for seen in self._workers.values()}

    @property
    def gaps(self) -> int:
        """What seems lost so far: numbers missing between received ones. The end of the run is exact."""
        return sum(seen.gaps for seen in self._workers.values())

    @property
    def disconnects(self) -> int:
        """Disconnects so far that neither a client nor the scenario asked for."""
        return sum(seen.disconnects for seen in self._workers.values())

    def last_second(self) -> int | None:
        """The latest second that every worker has reported."""
        lasts = [seen.last for seen in self._workers.values() if seen.last and seen.final is None]
        return min(lasts, default=None)

    def snapshot(self, began: int) -> Snapshot:
        """Zeros until each worker has reported a second."""
        at = self.last_second()
        if at is None:
            return Snapshot()
        return Snapshot.of(self.second(at, began), self.gaps)

    def second(self, at: int, began: int) -> Second:
        each = self._sums.get(at) or _Sum()
        latency = quantiles(merged(each.latencies))
        return Second(
            at - began,
            each.emits,
            latency.count,
            each.bytes,
            each.clients,
            latency.p50_ms,
            latency.p95_ms,
            latency.p99_ms,
        )

    def stretch(self, begin: int, end: int) -> Stretch:
        """The seconds from `begin` to `end`, without `end` itself."""
        sums = [self._sums[at] for at in range(begin, end) if at in self._sums]
        latency = quantiles(merged(part for each in sums for part in each.latencies))
        emits, clients = sum(each.emits for each in sums), max((each.clients for each in sums), default=0)
        return Stretch(max(1, end - begin), emits, latency.count, clients, latency)

    def result(
        self,
        scenario: str,
        options: Options,
        began: int,
        duration_s: float,
        *,
        losses_allowed: bool = False,
        knee: Knee | None = None,
    ) -> Result:
        """All that was measured. `losses_allowed`: the scenario loses messages on purpose."""
        finals = [seen.final for seen in self._workers.values() if seen.final is not None]
        seconds = [self.second(at, began) for at in range(began, max(self._sums, default=began - 1) + 1)]
        latency = merged(self._by_transport.values())
        workers = [self._worker(name, seen) for name, seen in sorted(self._workers.items())]
        totals = _totals(seconds)
        return Result(
            scenario=scenario,
            options=options,
            started_at=float(began),
            duration_s=round(duration_s, 3),
            seconds=seconds,
            totals=totals,
            latency=quantiles(latency),
            latency_by_transport={name: quantiles(part) for name, part in sorted(self._by_transport.items())},
            acks=_quantiles_by_name([final.acks for final in finals]),
            integrity=self._integrity(finals),
            losses_allowed=losses_allowed,
            connects=_connects(finals),
            unanswered=_counts([final.unanswered for final in finals]),
            disconnects=_counts([final.disconnects for final in finals]),
            disconnects_unasked=sum(final.unasked_disconnects for final in finals),
            absent=sum(final.absent for final in finals),
            clients_by_io_node=_counts([final.io_nodes for final in finals]),
            generator=judge_generator(workers, self.limits),
            knee=knee,
            notes=self._notes(finals),
        )

    def _add(self, seen: _Seen, row: SecondRow) -> None:
        each = self._sums.setdefault(row.at, _Sum())
        each.emits += row.emits
        each.bytes += row.bytes
        each.clients += row.clients
        for transport, part in row.latencies.items():
            each.latencies.append(part)
            self._by_transport[transport] = merged([self._by_transport.get(transport, {}), part])
        if row.clients:
            seen.cpu.append(row.cpu_percent)
        seen.gaps, seen.disconnects = row.gaps, row.disconnects
        seen.clients_max = max(seen.clients_max, row.clients)
        seen.last = max(seen.last, row.at)

    def _integrity(self, finals: list[Final]) -> Integrity:
        return settle(
            [emits for final in finals for emits in final.emits],
            [stay for final in finals for stay in final.stays],
            clock_error_us=self._clock_error_us(),
            all_emits_known=len(finals) == len(self._workers),
        )

    @property
    def _clocks_agree(self) -> bool:
        """True once each machine knows how far its own clock is off."""
        return set(self.offsets()) == self.machines()

    def _clock_error_us(self) -> int:
        """How far two corrected clocks can be apart. 0 on one machine: it has one clock."""
        if len(self.machines()) < 2:
            return 0
        return 2 * max((error for _, error in self.offsets().values()), default=0)

    def _worker(self, name: str, seen: _Seen) -> Worker:
        final = seen.final
        lag = quantiles(final.lags) if final else Quantiles()
        offset_us, error_us = self.offsets().get(seen.machine, (0, -1000))
        return Worker(
            name=name,
            machine=seen.machine,
            clients_max=max(seen.clients_max, final.clients_max if final else 0),
            cpu_percent=round(sum(seen.cpu) / len(seen.cpu), 1) if seen.cpu else 0.0,
            cpu_percent_p95=sorted(seen.cpu)[math.ceil(0.95 * len(seen.cpu)) - 1] if seen.cpu else 0.0,
            cpu_percent_max=max(seen.cpu, default=0.0),
            lag_p99_ms=lag.p99_ms,
            lag_max_ms=lag.max_ms,
            clock_offset_ms=offset_us / 1e3,
            clock_error_ms=error_us / 1e3,
            clock_corrected=self._clocks_agree and len(self.machines()) > 1,
            missing=final is None,
        )

    def _notes(self, finals: list[Final]) -> list[str]:
        """What a reader must know to judge the figures, one sentence each."""
        notes = []
        withheld = _counts([final.not_published for final in finals])
        absent = sum(final.absent for final in finals)
        early = sum(final.early for final in finals)
        others = sum(final.others for final in finals)
        notes += [f"{count} emits were not sent: {why}." for why, count in withheld.items()]
        if self._late:
            notes.append(
                f"{len(self._late)} workers came after the run had begun and took no part, so there were fewer clients."
            )
        if absent:
            notes.append(f"{absent} clients had no connection at the end.")
        if dropped := sum(final.seconds_dropped for final in finals):
            notes.append(
                f"{dropped} seconds of workers are missing from throughput and latency, because the master was away."
            )
        if early:
            notes.append(f"{early} deliveries came before they were sent, by the clocks. They count as 0 ms.")
        if others:
            notes.append(f"{others} events were not deliveries of the load test.")
        machines = len(self.machines())
        if machines > 1 and self._clocks_agree:
            error_ms = math.ceil(self._clock_error_us() / 100) / 10
            notes.append(f"{machines} load machines: latencies are exact to {error_ms:g} ms.")
        elif machines > 1:
            notes.append(f"{machines} load machines never agreed on the time, so latencies between them mean nothing.")
        return notes


def _totals(seconds: list[Second]) -> Totals:
    busy = sum(1 for second in seconds if second.deliveries)
    emits = sum(second.emits for second in seconds)
    deliveries = sum(second.deliveries for second in seconds)
    size = sum(second.bytes for second in seconds)
    return Totals(
        emits=emits,
        deliveries=deliveries,
        bytes=size,
        busy_s=busy,
        deliveries_per_s=round(deliveries / busy, 1) if busy else 0.0,
        megabytes_per_s=round(size / busy / 1e6, 3) if busy else 0.0,
        fan_out=round(deliveries / emits, 2) if emits else 0.0,
        clients_max=max((second.clients for second in seconds), default=0),
    )


def _connects(finals: list[Final]) -> Connects:
    phases = _quantiles_by_name([final.phases for final in finals])
    none = Quantiles()
    return Connects(
        succeeded=sum(final.connected for final in finals),
        reconnected=sum(final.reconnected for final in finals),
        failed=_counts([final.failed for final in finals]),
        handshake=phases.get("handshake", none),
        upgrade=phases.get("upgrade", none),
        connect=phases.get("connect", none),
        total=phases.get("total", none),
        back=phases.get("back", none),
    )


def _quantiles_by_name(parts: list[dict[str, dict[int, int]]]) -> dict[str, Quantiles]:
    names = sorted({name for part in parts for name in part})
    return {name: quantiles(merged(part.get(name, {}) for part in parts)) for name in names}


def _counts(parts: list[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    return dict(sorted(total.items()))
