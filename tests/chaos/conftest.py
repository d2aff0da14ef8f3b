"""The seed, and the table at the end: one row for each scenario that ran."""

import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from tests.chaos.field import RESULTS
from tests.chaos.ledger import COLUMNS

SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))


@pytest.fixture
def seed() -> int:
    """CHAOS_SEED, else one of this run's own; it is printed, and repeats a run's choices."""
    return SEED


@pytest.fixture(autouse=True)
def announce(request: pytest.FixtureRequest) -> Iterator[None]:
    """One line as soon as a scenario is over."""
    before = _stamps()
    yield
    reporter: Any = request.config.pluginmanager.getplugin("terminalreporter")
    for name, stamp in _stamps().items():
        if before.get(name) != stamp:
            _tried.add(name)
            row = json.loads((RESULTS / name).read_text())
            reporter.write_line(f"\n{row['scenario']}: {_figures(row)}")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _tried:
        return
    table = Table(title=f"chaos, CHAOS_SEED={SEED}")
    for heading in (
        "scenario",
        "events",
        "emits",
        "broken",
        "again",
        "restarts",
        "gap p50 ms",
        "gap max ms",
        "away max ms",
        "verdict",
    ):
        table.add_column(heading, justify="left" if heading in ("scenario", "verdict") else "right")
    rows = sorted((json.loads((RESULTS / name).read_text()) for name in _tried), key=lambda row: str(row["scenario"]))
    for row in rows:
        table.add_row(
            row["scenario"], str(row["events"]), str(row["emits"]), str(row["connections_broken"]),
            str(row["redelivered"]), str(row["restarts"]), f"{row['gap_p50_ms']:.0f}", f"{row['gap_max_ms']:.0f}",
            f"{row['away_max_ms']:.0f}", _faults(row) or "kept",
        )  # fmt: skip
    (RESULTS / "table.md").write_text(_quotable(rows))
    console = Console(width=140)
    with console.capture() as text:
        console.print(table)
    terminalreporter.write_line("\n" + text.get())


_tried: set[str] = set()
"""Files of the scenarios that this run has brought to an end."""


def _stamps() -> dict[str, float]:
    return {path.name: path.stat().st_mtime for path in RESULTS.glob("*.json")}


def _figures(row: dict[str, Any]) -> str:
    rate = f"{row['events'] / max(row['seconds'], 1):.0f} events/s" if row["seconds"] else ""
    return (
        f"{row['clients']} clients, {row['events']} events ({rate}), {row['emits']} emits, gap p50 "
        f"{row['gap_p50_ms']:.0f} ms max {row['gap_max_ms']:.0f} ms, away max {row['away_max_ms']:.0f} ms, "
        f"{row['redelivered']} redelivered, "
        f"{row['restarts']} restarts, {row['connections_broken']} broken: {_faults(row) or 'kept'}"
    )


def _quotable(rows: list[dict[str, Any]]) -> str:
    """The table of docs/reliability.md."""
    lines = [
        "| scenario | lost | doubled | reordered | again | gap p50 ms | gap max ms | away max ms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["scenario"].startswith("broken build"):
            continue
        sums = (
            sum(row[column] for column in COLUMNS if column.endswith(kind))
            for kind in (("_lost", "_missing"), "_doubled", "_reordered")
        )
        times = (f"{row[column]:.0f}" for column in ("gap_p50_ms", "gap_max_ms", "away_max_ms"))
        figures = (*sums, row["redelivered"], *times)
        lines.append(f"| {row['scenario']} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines) + "\n"


def _faults(row: dict[str, Any]) -> str:
    """What the checker has against it: its sentences without their examples."""
    return "; ".join(str(problem).partition(", as [")[0] for problem in row["problems"])
