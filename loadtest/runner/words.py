"""The figures of a run in rows of text, the same for the terminal and the page."""

from loadtest.ledger.result import Quantiles, Result
from loadtest.runner.outcome import Outcome

Row = tuple[str, ...]


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


def rows_of_throughput(result: Result) -> list[Row]:
    totals = result.totals
    return [
        ("Deliveries", f"{totals.deliveries:,}", f"{totals.deliveries_per_s:,.0f} a second"),
        ("Bytes delivered", f"{totals.bytes / 1e6:,.1f} MB", f"{totals.megabytes_per_s:.2f} MB a second"),
        ("Emits", f"{totals.emits:,}", f"{totals.fan_out:.1f} deliveries each"),
        ("Clients", f"{totals.clients_max:,}", f"{result.duration_s:.0f} s, {totals.busy_s} of them with deliveries"),
    ]


def rows_of_latency(result: Result) -> list[Row]:
    """Name, count, p50, p95, p99, most."""
    named = [("emit to receive", result.latency)]
    if len(result.latency_by_transport) > 1:
        named += [(f"  by {name}", quantiles) for name, quantiles in sorted(result.latency_by_transport.items())]
    named += [(f"ack of {name}", quantiles) for name, quantiles in sorted(result.acks.items())]
    return [_quantiles(name, quantiles) for name, quantiles in named if quantiles.count]


def rows_of_connects(result: Result) -> list[Row]:
    """Phase, count, p50, p95, p99, most."""
    connects = result.connects
    named = {
        "handshake": connects.handshake,
        "upgrade": connects.upgrade,
        "CONNECT": connects.connect,
        "all of it": connects.total,
        "back after a loss": connects.back,
    }
    return [_quantiles(name, quantiles) for name, quantiles in named.items() if quantiles.count]


def rows_of_integrity(result: Result) -> list[Row]:
    """Word, count, meaning."""
    integrity = result.integrity
    return [
        ("due", f"{integrity.due:,}", "deliveries that members had to get"),
        ("lost", f"{integrity.lost:,}", "due and never received"),
        ("duplicated", f"{integrity.duplicated:,}", "received again"),
        ("reordered", f"{integrity.reordered:,}", "received after a later one of the same publisher"),
        ("misdelivered", f"{integrity.misdelivered:,}", "received by who was no member of the room"),
        ("unknown", f"{integrity.unknown:,}", "from a publisher that this run does not have"),
        ("uncertain", f"{integrity.uncertain:,}", "not received, under way while a member joined, left or was away"),
        ("excused", f"{integrity.excused:,}", "not received by clients that the scenario keeps from reading"),
        ("unanswered", f"{sum(result.unanswered.values()):,}", "acks that never came, though the connection held"),
        ("cut off", f"{result.disconnects_unasked:,}", "disconnects that neither client nor scenario had asked for"),
        ("absent", f"{result.absent:,}", "clients without a connection at the end"),
    ]


def ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.1f} ms"


def _quantiles(name: str, quantiles: Quantiles) -> Row:
    values = (quantiles.p50_ms, quantiles.p95_ms, quantiles.p99_ms, quantiles.max_ms)
    return (name, f"{quantiles.count:,}", *(ms(value) for value in values))


def _acks_per_s(result: Result) -> float:
    return sum(quantiles.count for quantiles in result.acks.values()) / max(1.0, result.duration_s)
