"""The end of a run on the terminal."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from loadtest.runner.outcome import Outcome
from loadtest.runner.words import (
    Row,
    headline,
    rows_of_connects,
    rows_of_integrity,
    rows_of_latency,
    rows_of_throughput,
)

_QUANTILES = ("count", "p50", "p95", "p99", "most")


def show(console: Console, outcome: Outcome) -> None:
    """Tables, then the verdicts, so that the last lines on the screen are what matters most."""
    result = outcome.result
    _table(console, "Throughput", ("", "", ""), rows_of_throughput(result))
    _table(console, "Latency", ("", *_QUANTILES), rows_of_latency(result))
    _table(console, "Connecting", ("", *_QUANTILES), rows_of_connects(result))
    _table(console, "Integrity", ("", "count", ""), rows_of_integrity(result))
    taken = sum(result.clients_by_io_node.values()) or 1
    shares = sorted(result.clients_by_io_node.items())
    _table(
        console,
        "Connections by io-node",
        ("", "count", ""),
        [(name, f"{n:,}", f"{100 * n / taken:.1f} %") for name, n in shares],
    )
    lost = [*result.disconnects.items(), *((f"no connect: {why}", n) for why, n in result.connects.failed.items())]
    _table(console, "Disconnects", ("", "count"), [(why, f"{n:,}") for why, n in lost])
    _table(console, "Load generator", ("", "clients", "CPU", "lag p99"), _workers(outcome))
    _table(console, "Server processes", ("", "CPU s", "of a core", "memory"), _server(outcome))
    _knee(console, outcome)
    _verdicts(console, outcome)


def _workers(outcome: Outcome) -> list[Row]:
    return [
        (worker.name[:24], f"{worker.clients_max:,}", f"{worker.cpu_percent:.0f} %", f"{worker.lag_p99_ms:.1f} ms")
        for worker in outcome.result.generator.workers
    ]


def _server(outcome: Outcome) -> list[Row]:
    if outcome.server is None:
        return []
    rows = [
        (part.name, f"{part.cpu_s:.1f}", f"{part.cpu_percent:.0f} %", f"{part.memory_mb:.0f} MB")
        for part in outcome.server.parts
    ]
    each = outcome.server.cpu_us_per_delivery
    cost = f"{each:.1f} µs a delivery" if each is not None else ""
    return [*rows, ("together", f"{outcome.server.cpu_s:.1f}", cost, f"{outcome.server.memory_mb:.0f} MB")]


def _knee(console: Console, outcome: Outcome) -> None:
    knee = outcome.result.knee
    if knee is None:
        return
    rows = [
        (f"{s.rate:,.0f}", f"{s.deliveries_per_s:,.0f}", f"{s.p99_ms:.1f} ms", "held" if s.held else s.why)
        for s in knee.steps
    ]
    _table(console, "Ramp", ("emits/s", "deliveries/s", "p99", ""), rows)
    if knee.rate is None:
        text = f"no step kept its p99 under {knee.limit_p99_ms:g} ms"
    else:
        text = f"{knee.rate:,.0f} emits/s, {knee.deliveries_per_s:,.0f} deliveries/s"
        text += " is the knee" if knee.reached else " held; the knee lies beyond"
    console.print(Text(f"Ramp: {text}", "bold"))


def _verdicts(console: Console, outcome: Outcome) -> None:
    generator = outcome.result.generator
    lines = [Text(f"Note: {note}", "dim") for note in outcome.result.notes]
    lines.append(Text(f"Load generator: {generator.verdict}", "dim" if generator.healthy else "bold yellow"))
    lines.append(Text(headline(outcome), "bold"))
    lines += [Text(f"Not judged: {judgement}", "dim") for judgement in outcome.judgements if judgement.kept is None]
    if outcome.interrupted:
        lines.append(Text("The run was interrupted", "yellow"))
    lines += [Text.assemble(("Broken: ", "bold red"), str(judgement)) for judgement in outcome.broken]
    if not outcome.broken:
        kept = sum(judgement.kept is True for judgement in outcome.judgements)
        lines.append(Text(f"All {kept} limits kept" if kept else "No limits judged", "bold green"))
    for line in lines:
        console.print(line)


def _table(console: Console, title: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    rows = list(rows)
    if not rows:
        return
    table = Table(show_header=any(columns), box=None, pad_edge=False)
    for index, name in enumerate(columns):
        wide = index and index == len(columns) - 1 and not name
        table.add_column(name, justify="left" if not index or wide else "right", no_wrap=not wide)
    for row in rows:
        table.add_row(*row)
    console.print(Text(title, "bold"))
    console.print(table)
    console.print()
