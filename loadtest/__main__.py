"""`python -m loadtest`: what `make loadtest` and `make loadtest-ui` start.

Exit status: 0: all limits of loadtest/thresholds.toml are kept. 1: one is broken. 2: the run could not take place.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from loadtest.errors import CannotRun
from loadtest.reporting import thresholds as limits
from loadtest.runner import run, web
from loadtest.runner.options import (
    DEFAULT_URL,
    FOLDER,
    RUN_TIME_S,
    RUN_TIMES_S,
    Options,
    checked_url,
    parse_run_time,
)
from loadtest.runner.screen import Screen
from sio_stack.stop import Stop

cli = typer.Typer(add_completion=False)


@cli.command(context_settings={"ignore_unknown_options": True})
def main(
    more: Annotated[list[str] | None, typer.Argument(help="Further options go to locust")] = None,
    url: Annotated[
        str, typer.Option(envvar="URL", help="The cluster. If none answers on this machine, one is started")
    ] = DEFAULT_URL,
    scenario: Annotated[str, typer.Option(envvar="SCENARIO", help="loadtest/README.md lists them")] = "fanout",
    users: Annotated[int, typer.Option(envvar="USERS", min=1, help="Simulated browsers")] = 500,
    spawn_rate: Annotated[float, typer.Option(envvar="SPAWN_RATE", min=0.01, help="New ones each second")] = 50,
    run_time: Annotated[
        str, typer.Option(envvar="RUN_TIME", help="60, 90s, 5m, 1h30m. Default: 60 s; ramp: until it is done")
    ] = "",
    processes: Annotated[
        int, typer.Option(envvar="PROCESSES", min=0, max=256, help="Workers of locust; 0: half the cores")
    ] = 0,
    io_nodes: Annotated[int, typer.Option(envvar="IO_NODES", min=1, max=64, help="Of a cluster that is started")] = 4,
    thresholds: Annotated[Path, typer.Option(help="The limits that judge the run")] = limits.FILE,
    report_dir: Annotated[Path, typer.Option(help="Where each run makes a folder")] = FOLDER / "report",
    ui: Annotated[bool, typer.Option("--ui", help="Locust's web interface instead of one run")] = False,
    ui_port: Annotated[int, typer.Option(envvar="UI_PORT", min=1, max=65535, help="Its port")] = 8089,
    metrics_port: Annotated[
        int, typer.Option(envvar="METRICS_PORT", min=0, max=65535, help="Port for /metrics during one run; 0: none")
    ] = 0,
    show: Annotated[Path | None, typer.Option(help="Shows the result.json of an earlier run, and runs nothing")] = None,
) -> None:
    """Simulated browsers against a cluster: fan-out, latency, and whether anything was lost."""
    screen = Screen()
    try:
        if show is not None:
            sys.exit(run.show_again(show, thresholds, screen))
        options = Options(
            url=checked_url(url),
            scenario=scenario,
            users=users,
            spawn_rate=spawn_rate,
            run_time_s=parse_run_time(run_time) if run_time else RUN_TIMES_S.get(scenario, RUN_TIME_S),
            processes=processes or max(1, (os.cpu_count() or 1) // 2),
            io_nodes=io_nodes,
            metrics_port=metrics_port,
            thresholds=thresholds,
            report_dir=report_dir.absolute(),
            more=tuple(more or ()),
        )
        sys.exit(asyncio.run(_begin(options, ui_port if ui else None, screen)))
    except CannotRun as error:
        screen.refuse(str(error))
        sys.exit(2)


async def _begin(options: Options, ui_port: int | None, screen: Screen) -> int:
    stop = Stop()
    stop.listen()
    work = run.headless(options, screen, stop) if ui_port is None else web.serve(options, ui_port, screen, stop)
    running = asyncio.create_task(work)
    stop.on_asked = running.cancel
    try:
        return await running
    except asyncio.CancelledError:
        raise CannotRun("interrupted before the run began; what was started has been stopped") from None


if __name__ == "__main__":
    cli()
