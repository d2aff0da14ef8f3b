"""The figures of a run as tables of text. The terminal and the page show the same tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.accounting.result import Quantiles, Result, Worker
from loadtest.reporting.outcome import Outcome, number


class Bad(str):
    """A cell that shows something wrong."""

    __slots__ = ()


class Good(str):
    """A cell that shows something well."""

    __slots__ = ()


class Soft(str):
    """A cell that explains; it may be long."""

    __slots__ = ()


Row = Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are the heads, or nothing where the table needs none. `note` is a sentence about it."""

    title: str
    columns: Row
    rows: Sequence[Row]
    note: str = ""


BY_IO_NODE = "Connections by io-node"
_QUANTILES = ("", "count", "p50", "p95", "p99", "most")


def headline(outcome: Outcome) -> str:
    """What to know first."""
    result, parts = outcome.result, []
    totals, latency = result.totals, result.latency
    if totals.deliveries:
        parts.append(f"{totals.deliveries_per_s:,.0f} deliveries/s, p50 {ms(latency.p50_ms)}, p99 {ms(latency.p99_ms)}")
    else:
        parts.append("Nothing was delivered" if not result.acks else f"{_acks_per_s(result):,.0f} acks/s")
    if outcome.server and outcome.server.cpu_us_per_delivery is not None:
        parts.append(f"{outcome.server.cpu_us_per_delivery:.1f} µs server CPU per delivery")
    parts.append(f"{totals.clients_max:,} clients")
    return "; ".join(parts)


def tables(outcome: Outcome) -> list[Table]:
    """All tables that have rows, in the order in which they are shown."""
    result = outcome.result
    every = [
        Table("Latency", _QUANTILES, _latencies(result)),
        Table("Connecting", _QUANTILES, _connects(result)),
        _integrity(result),
        _throughput(result),
        _by_io_node(result),
        _disconnects(result),
        _generator(result),
        _server(outcome),
        _ramp(result),
    ]
    return [table for table in every if table.rows]


def limits(outcome: Outcome) -> Table:
    """Each limit, its bound, and what the run measured."""
    rows: list[Row] = []
    for each in outcome.judgements:
        verdict = "-" if each.kept is None else Good("kept") if each.kept else Bad("broken")
        measured = "not measured" if each.measured is None else number(each.measured)
        rows.append((each.limit, number(each.bound), measured, verdict))
    return Table("Limits", ("limit", "bound", "measured", ""), rows)


def ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def _throughput(result: Result) -> Table:
    totals = result.totals
    rows = [
        ("Deliveries", f"{totals.deliveries:,}", Soft(f"{totals.deliveries_per_s:,.0f} a second")),
        ("Bytes delivered", f"{totals.bytes / 1e6:,.1f} MB", Soft(f"{totals.megabytes_per_s:.2f} MB a second")),
        ("Emits", f"{totals.emits:,}", Soft(f"{totals.fan_out:.1f} deliveries each")),
        (
            "Clients",
            f"{totals.clients_max:,}",
            Soft(f"{result.duration_s:.0f} s, {totals.busy_s} of them with deliveries"),
        ),
    ]
    return Table("Throughput", (), rows)


def _latencies(result: Result) -> list[Row]:
    named = [("emit to receive", result.latency)]
    if len(result.latency_by_transport) > 1:
        named += [(f"  by {name}", quantiles) for name, quantiles in sorted(result.latency_by_transport.items())]
    named += [(f"ack of {name}", quantiles) for name, quantiles in sorted(result.acks.items())]
    return [_quantiles(name, quantiles) for name, quantiles in named if quantiles.count]


def _connects(result: Result) -> list[Row]:
    connects = result.connects
    named = {
        "handshake": connects.handshake,
        "upgrade": connects.upgrade,
        "CONNECT": connects.connect,
        "all together": connects.total,
        "back after a loss": connects.back,
    }
    return [_quantiles(name, quantiles) for name, quantiles in named.items() if quantiles.count]


def _integrity(result: Result) -> Table:
    found = result.integrity
    unanswered = sum(result.unanswered.values())
    rows = [
        ("due", f"{found.due:,}", Soft("deliveries that members had to get")),
        ("lost", _flaw(found.lost), Soft("due and never received")),
        ("duplicated", _flaw(found.duplicated), Soft("received again")),
        ("reordered", _flaw(found.reordered), Soft("received after a later one of the same publisher")),
        ("misdelivered", _flaw(found.misdelivered), Soft("received by a client that was not in the room")),
        ("unknown", _flaw(found.unknown), Soft("from a publisher that this run does not have")),
        (
            "uncertain",
            f"{found.uncertain:,}",
            Soft("not received; under way while a member joined, left or was away"),
        ),
        ("excused", f"{found.excused:,}", Soft("not received by clients that the scenario keeps from reading")),
        ("unanswered", _flaw(unanswered), Soft("acks that never came although the connection held")),
        (
            "cut off",
            f"{result.disconnects_unasked:,}",
            Soft("disconnects that neither the client nor the scenario asked for"),
        ),
        ("absent", f"{result.absent:,}", Soft("clients without a connection at the end")),
    ]
    return Table("Integrity", (), rows, _worst(result))


def _worst(result: Result) -> str:
    flaws = [
        f"publisher {flaw.publisher} in room {flaw.room}: {flaw.lost} lost, {flaw.duplicated} duplicated, "
        f"{flaw.reordered} reordered"
        + ("" if flaw.first_lost_seq is None else f", the first lost is no. {flaw.first_lost_seq}")
        for flaw in result.integrity.worst
    ]
    return f"Worst: {'; '.join(flaws)}" if flaws else ""


def _by_io_node(result: Result) -> Table:
    shares = sorted(result.clients_by_io_node.items())
    total = sum(count for _, count in shares) or 1
    rows = [(name, f"{count:,}", f"{100 * count / total:.1f} %") for name, count in shares]
    return Table(BY_IO_NODE, (), rows)


def _disconnects(result: Result) -> Table:
    rows: list[Row] = [(reason, f"{count:,}") for reason, count in result.disconnects.items()]
    rows += [(f"no connect: {reason}", Bad(f"{count:,}")) for reason, count in result.connects.failed.items()]
    return Table("Disconnects and failed connects", (), rows)


def _generator(result: Result) -> Table:
    columns = ("process", "clients", "CPU", "most", "lag p99", "most", "clock offset")
    rows = [
        (
            worker.name if len(worker.name) <= 12 else worker.name[:11] + "…",
            f"{worker.clients_max:,}",
            (Bad if worker.overloaded else str)(f"{worker.cpu_percent:.0f} %"),
            f"{worker.cpu_percent_max:.0f} %",
            f"{worker.lag_p99_ms:.1f} ms",
            f"{worker.lag_max_ms:.1f} ms",
            _clock(worker),
        )
        for worker in result.generator.workers
    ]
    return Table("Load generator", columns, rows, result.generator.verdict)


def _clock(worker: Worker) -> str:
    error = "?" if worker.clock_error_ms < 0 else f"{worker.clock_error_ms:.2f}"
    return f"{worker.clock_offset_ms:.2f} ± {error} ms" + (", no final report" if worker.missing else "")


def _server(outcome: Outcome) -> Table:
    server = outcome.server
    if server is None:
        return Table("Server processes", (), ())
    rows = [
        (part.name, f"{part.cpu_s:.1f}", f"{part.cpu_percent:.0f} %", f"{part.memory_mb:.0f} MB")
        for part in server.parts
    ]
    cost = "" if server.cpu_us_per_delivery is None else f"{server.cpu_us_per_delivery:.1f} µs a delivery"
    rows.append(("together", f"{server.cpu_s:.1f}", cost, f"{server.memory_mb:.0f} MB"))
    return Table("Server processes", ("", "CPU seconds", "of a core", "memory"), rows)


def _ramp(result: Result) -> Table:
    knee = result.knee
    if knee is None:
        return Table("Ramp", (), ())
    rows = [
        (
            f"{step.rate:,.0f}",
            f"{step.emits_per_s:,.0f}",
            f"{step.deliveries_per_s:,.0f}",
            ms(step.p99_ms),
            f"{step.lost:,}",
            Good("held") if step.held else Bad(step.why),
        )
        for step in knee.steps
    ]
    if knee.rate is None:
        note = f"No step kept its p99 under {knee.limit_p99_ms:g} ms."
    else:
        note = f"{knee.rate:,.0f} emits/s, {knee.deliveries_per_s:,.0f} deliveries/s"
        note += " is the knee." if knee.reached else " held; the knee is higher."
    return Table("Ramp", ("asked emits/s", "emits/s", "deliveries/s", "p99", "lost", ""), rows, note)


def _flaw(count: int) -> str:
    return Bad(f"{count:,}") if count else "0"


def _quantiles(name: str, quantiles: Quantiles) -> Row:
    values = (quantiles.p50_ms, quantiles.p95_ms, quantiles.p99_ms, quantiles.max_ms)
    return (name, f"{quantiles.count:,}", *(ms(value) for value in values))


def _acks_per_s(result: Result) -> float:
    return sum(quantiles.count for quantiles in result.acks.values()) / max(1.0, result.duration_s)
