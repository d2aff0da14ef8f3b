"""The seed, a second try, a line for each scenario as soon as it is over, and a table of all at the end.

Two scenarios run at a time (pytest-xdist): a worker writes its scenario's file, the main process reads and shows it.
"""

import json
import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from tests import machine
from tests.chaos.checker import COLUMNS
from tests.chaos.field import RESULTS, written
from tests.chaos.limits import TooSlow, tried_again

SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(1 << 32))
os.environ["CHAOS_SEED"] = str(SEED)  # the workers, which start later, take the same

TRIED = "the file of a scenario that this test has brought to an end"
TOO_SLOW = "why it was tried once more"
HERE = Path(__file__).parent
_tried: list[Path] = []
_tried_again: list[str] = []


@pytest.fixture
def seed() -> int:
    """CHAOS_SEED, or a random number. It is printed; given again, it repeats the choices of a run."""
    return SEED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A scenario that is too slow has a second try alone, and three times the time: the other one has to end first."""
    for item in items:
        if (
            HERE not in item.path.parents
            or not isinstance(item, pytest.Function)
            or not item.get_closest_marker("chaos")
        ):
            continue
        if limit := item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3 * float(limit.args[0])), append=False)
        item.obj = tried_again(item.obj, partial(_make_room, item))


async def _make_room(item: pytest.Item, slow: TooSlow) -> None:
    item.user_properties.append((TOO_SLOW, str(slow)))
    await machine.taken_alone_from_now()


@pytest.fixture(autouse=True)
def result(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tells the main process which files this test wrote."""
    written.clear()
    yield
    request.node.user_properties.extend((TRIED, str(path)) for path in dict.fromkeys(written))


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "teardown" or "PYTEST_XDIST_WORKER" in os.environ:
        return
    for name, value in report.user_properties:
        if name == TOO_SLOW:
            _tried_again.append(f"{report.nodeid.partition('::')[2]}: {value}")
            print(f"\ntried once more, alone, since it was too slow: {_tried_again[-1]}", flush=True)
        if name == TRIED:
            _tried.append(Path(str(value)))
            row = json.loads(_tried[-1].read_text())
            print(f"\n{row['scenario']}: {_figures(row)}", flush=True)


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
        "answered again",
        "restarts",
        "gap p50 ms",
        "gap max ms",
        "without service max ms",
        "verdict",
    ):
        table.add_column(heading, justify="left" if heading in ("scenario", "verdict") else "right")
    rows = sorted((json.loads(path.read_text()) for path in _tried), key=lambda row: str(row["scenario"]))
    for row in rows:
        table.add_row(
            row["scenario"], str(row["events"]), str(row["emits"]), str(row["connections_broken"]),
            str(row["redelivered"]), str(row["answered_again"]), str(row["restarts"]), f"{row['gap_p50_ms']:.0f}",
            f"{row['gap_max_ms']:.0f}",
            f"{row['away_max_ms']:.0f}", _faults(row) or "kept",
        )  # fmt: skip
    (RESULTS / "table.md").write_text(_quotable(rows))
    console = Console(width=140)
    with console.capture() as text:
        console.print(table)
    terminalreporter.write_line("\n" + text.get())
    for why in _tried_again:
        terminalreporter.write_line(f"Tried once more, alone, since it was too slow: {why}")


def _figures(row: dict[str, Any]) -> str:
    rate = f"{row['events'] / max(row['seconds'], 1):.0f} events/s" if row["seconds"] else ""
    rate += f" at {row['pace']:.0%} of the full pace"
    rate += "".join(f", {value:.0f}/s {way} before the fault" for way, value in row["rates"].items())
    return (
        f"{row['clients']} clients, {row['events']} events ({rate}), {row['emits']} emits, gap p50 "
        f"{row['gap_p50_ms']:.0f} ms max {row['gap_max_ms']:.0f} ms, without service max {row['away_max_ms']:.0f} ms, "
        f"{row['redelivered']} redelivered, {row['answered_again']} answered again, "
        f"{row['restarts']} restarts, {row['connections_broken']} broken: {_faults(row) or 'kept'}"
    )


def _quotable(rows: list[dict[str, Any]]) -> str:
    """The rows of the table in docs/reliability.md."""
    lines = [
        "| scenario | lost | doubled | reordered | again | answered again "
        "| gap p50 ms | gap max ms | without service max ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["scenario"].startswith("broken build"):
            continue
        sums = (
            sum(row[column] for column in COLUMNS if column.endswith(kind))
            for kind in (("_lost", "_missing"), "_doubled", "_reordered")
        )
        times = (f"{row[column]:.0f}" for column in ("gap_p50_ms", "gap_max_ms", "away_max_ms"))
        figures = (*sums, row["redelivered"], row["answered_again"], *times)
        lines.append(f"| {row['scenario']} | {' | '.join(map(str, figures))} |")
    return "\n".join(lines) + "\n"


def _faults(row: dict[str, Any]) -> str:
    """The problems that the checker found, without their examples."""
    return "; ".join(str(problem).partition(", as [")[0] for problem in row["problems"])
