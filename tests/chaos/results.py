"""The results of scenarios as people read them: a line for each, and tables. Rows come from the files in .run/chaos.

A row says of which `kind` it is: "recovery", or "load" for those of `tests.chaos.field`.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from tests.chaos.checker import COLUMNS

Row = Mapping[str, Any]
Columns = Mapping[str, Callable[[Row], object]]

SHOWN: Mapping[str, Columns] = {
    "load": {
        "events": lambda row: row["events"],
        "emits": lambda row: row["emits"],
        "broken": lambda row: row["connections_broken"],
        "given back": lambda row: row["given_back"],
        "again": lambda row: row["redelivered"],
        "answered again": lambda row: row["answered_again"],
        "restarts": lambda row: row["restarts"],
        "gap p50 ms": lambda row: round(row["gap_p50_ms"]),
        "gap max ms": lambda row: round(row["gap_max_ms"]),
        "without service max ms": lambda row: round(row["away_max_ms"]),
    },
    "recovery": {
        "clients": lambda row: row["clients"],
        "emits": lambda row: row["emits"],
        "messages": lambda row: row["messages"],
        "broken": lambda row: row["broken"],
        "given back": lambda row: row["recovered"],
        "away p50 ms": lambda row: round(row["away_p50_ms"]),
        "away max ms": lambda row: round(row["away_max_ms"]),
    },
}
"""What a run shows at its end."""

QUOTED: Mapping[str, Columns] = {
    "load": {
        "lost": lambda row: _sum(row, "_lost", "_missing"),
        "doubled": lambda row: _sum(row, "_doubled"),
        "reordered": lambda row: _sum(row, "_reordered"),
        "again": lambda row: row["redelivered"],
        "answered again": lambda row: row["answered_again"],
        "gap p50 ms": lambda row: round(row["gap_p50_ms"]),
        "gap max ms": lambda row: round(row["gap_max_ms"]),
        "without service max ms": lambda row: round(row["away_max_ms"]),
    },
    "recovery": {
        "emits": lambda row: row["emits"],
        "messages": lambda row: row["messages"],
        "broken": lambda row: row["broken"],
        "given back": lambda row: row["recovered"],
        "lost": lambda row: row["lost"],
        "doubled": lambda row: row["doubled"],
        "reordered": lambda row: row["reordered"],
        "away p50 ms": lambda row: round(row["away_p50_ms"]),
        "away max ms": lambda row: round(row["away_max_ms"]),
    },
}
"""What docs/reliability.md has."""


def figures(row: Row) -> str:
    """One line of a scenario's most important figures."""
    if row["kind"] == "recovery":
        return (
            f"{row['clients']} clients, {row['emits']} emits ({row['emits'] / max(row['seconds'], 1):.0f}/s at "
            f"{row['pace']:.0%} of the full pace), {row['messages']} messages, "
            f"{row['broken']} broken, {row['recovered']} given back, away p50 {row['away_p50_ms']:.0f} ms max "
            f"{row['away_max_ms']:.0f} ms: {_faults(row) or 'kept'}"
        )
    rate = f"{row['events'] / max(row['seconds'], 1):.0f} events/s" if row["seconds"] else ""
    rate += f" at {row['pace']:.0%} of the full pace"
    rate += "".join(f", {value:.0f}/s {way} before the fault" for way, value in row["rates"].items())
    asked = row["asked"]
    questions = (
        f"{asked['questions']} questions p50 {asked['p50_ms']:.1f} ms p99 {asked['p99_ms']:.1f} ms "
        f"max {asked['max_ms']:.0f} ms, " if asked["questions"] else ""
    )  # fmt: skip
    return (
        f"{row['clients']} clients, {row['events']} events ({rate}), {row['emits']} emits, gap p50 "
        f"{row['gap_p50_ms']:.0f} ms max {row['gap_max_ms']:.0f} ms, without service max {row['away_max_ms']:.0f} ms, "
        f"{questions}{row['redelivered']} redelivered, {row['answered_again']} answered again, "
        f"{row['restarts']} restarts, {row['connections_broken']} broken, {row['given_back']} given back: "
        f"{_faults(row) or 'kept'}"
    )


def tables(rows: Iterable[Row], seed: int) -> str:
    """A table for each kind of which there are rows."""
    console = Console(width=140)
    with console.capture() as text:
        for kind, columns in SHOWN.items():
            of_kind = [row for row in rows if row["kind"] == kind]
            if not of_kind:
                continue
            table = Table(title=f"chaos, {kind}, CHAOS_SEED={seed}")
            table.add_column("scenario")
            for heading in columns:
                table.add_column(heading, justify="right")
            table.add_column("verdict")
            for row in of_kind:
                cells = (str(column(row)) for column in columns.values())
                table.add_row(row["scenario"], *cells, _faults(row) or "kept")
            console.print(table)
    return text.get()


def quotable(rows: Iterable[Row], kind: str) -> str:
    """The rows of this kind as docs/reliability.md has them."""
    columns = QUOTED[kind]
    lines = ["| scenario | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for row in rows:
        if row["kind"] == kind and not row["scenario"].startswith("broken build"):
            lines.append(f"| {row['scenario']} | {' | '.join(str(column(row)) for column in columns.values())} |")
    return "\n".join(lines) + "\n"


def _sum(row: Row, *ends: str) -> int:
    return sum(row[column] for column in COLUMNS if column.endswith(ends))


def _faults(row: Row) -> str:
    """The problems that the checker found, without their examples."""
    return "; ".join(str(problem).partition(", as [")[0] for problem in row["problems"])
