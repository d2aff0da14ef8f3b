"""`make bench`: this cluster beside Socket.IO's own server and python-socketio, in one run.

Each round starts every target anew, one after the other, and gives it the same load. The medians of all rounds are
compared as ratios, because the speed of a machine drifts. Load generator and targets share the machine.
"""

import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer
import uvloop
from rich.console import Console

from loadtest.bench import chart, report, rounds
from loadtest.bench.plan import SITTINGS
from loadtest.bench.sizes import FULL, QUICK
from loadtest.bench.targets import NODE_SERVER

REPORT_DIR = Path("loadtest/report")
console = Console() if sys.stdout.isatty() else Console(width=140)


def main(
    sitting: Annotated[list[str] | None, typer.Option(help=f"Only these: {', '.join(SITTINGS)}")] = None,
    column: Annotated[list[str] | None, typer.Option(help="Only these targets; node: all of its kind")] = None,
    times: Annotated[int, typer.Option("--rounds", help="Rounds over all targets; medians are compared")] = 3,
    quick: Annotated[bool, typer.Option(help="A little of everything, once: measures nothing")] = False,
) -> None:
    if unknown := set(sitting or ()) - set(SITTINGS):
        raise typer.BadParameter(f"no sitting is called {', '.join(unknown)}; there are {', '.join(SITTINGS)}")
    known = {name for one in SITTINGS.values() for name in one.columns}
    columns = {name for name in known if not column or any(f"{name} ".startswith(f"{one} ") for one in column)}
    if not columns:
        raise typer.BadParameter(f"no target is called {column}; there are {', '.join(sorted(known))}")
    if not (NODE_SERVER.parent / "node_modules").exists():
        raise typer.BadParameter("Socket.IO's own server is not installed: `make bench` does that")
    sizes = QUICK if quick else FULL
    measured = uvloop.run(rounds.run(sitting or list(SITTINGS), columns, sizes, 1 if quick else times, console.print))
    result = report.result(measured, sizes)
    report.show(console, result)
    REPORT_DIR.mkdir(parents=True, exist_ok=True)
    path = REPORT_DIR / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result)))
    path.with_suffix(".svg").write_text(chart.svg(result))
    if quick and result["faults"]:
        raise typer.Exit(1)
    console.print(f"all figures: {path}, and a chart of the ratios: {path.with_suffix('.svg')}")


if __name__ == "__main__":
    typer.run(main)
