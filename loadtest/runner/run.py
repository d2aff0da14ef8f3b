"""One run from its checks to its exit status."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from loadtest.accounting.result import Result
from loadtest.accounting.result import decode as decode_result
from loadtest.errors import CannotRun
from loadtest.reporting import outcome, page, terminal, thresholds
from loadtest.runner import locust_process
from loadtest.runner.cluster import Target, target
from loadtest.runner.locust_process import LocustProcess
from loadtest.runner.options import Options
from loadtest.runner.sampler import Sampler, busy_window
from loadtest.runner.screen import Progress, Screen
from sio_stack.stop import Stop

MEASURED = "measured.json"  # what locust writes; it becomes part of result.json
MOST_LOG_BYTES = 10_000_000
MOST_WARNINGS = 10
START_S = 60  # for locust to start; its run time and its end come on top


class Log:
    """A log file of at most MOST_LOG_BYTES. Lines beyond that are counted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left = MOST_LOG_BYTES
        self._dropped = 0

    def write(self, text: str) -> None:
        self._left -= len(text) + 1
        if self._left < 0:
            self._dropped += 1
            return
        with self._path.open("a") as file:
            file.write(text + "\n")

    def close(self) -> None:
        if self._dropped:
            with self._path.open("a") as file:
                file.write(f"({self._dropped} more lines did not fit into {MOST_LOG_BYTES} bytes)\n")


async def headless(options: Options, screen: Screen, stop: Stop) -> int:
    """One run. Returns the exit status: 0 within the limits, 1 a limit is broken. Raises CannotRun."""
    limits = thresholds.load(options.thresholds, options.scenario)
    if options.metrics_port:
        _require_free(options.metrics_port)
    report = new_report(options.report_dir)
    cluster_log = Log(report / "cluster.log")
    try:
        async with target(options, screen.say, lambda name, text: cluster_log.write(f"{name} | {text}")) as there:
            sampler = Sampler(there.pids)
            sampling = asyncio.create_task(sampler.run())
            try:
                await _locust(options, there, report, screen, stop)
            finally:
                sampling.cancel()
                with suppress(asyncio.CancelledError):
                    await sampling
    finally:
        cluster_log.close()
        with suppress(OSError):  # the folder stays if something is in it
            report.rmdir()
    result = _measured(report / MEASURED)
    use = sampler.use(*busy_window(result), result.totals.deliveries) if there.embedded else None
    io_nodes = options.io_nodes if there.embedded else 0
    done = thresholds.judged(result, limits, there.url, embedded=there.embedded, io_nodes=io_nodes, server=use)
    done.interrupted = stop.asked.is_set()
    (report / "result.json").write_bytes(outcome.encode(done))
    (report / "report.html").write_text(page.render(done))
    (report / MEASURED).unlink()
    terminal.show(screen.console, done)
    screen.say(f"Report: {_short(report / 'report.html')}")
    return 1 if done.broken else 0


def show_again(path: Path, limits_file: Path, screen: Screen) -> int:
    """Prints an earlier run and writes its page beside the file. Returns the run's exit status. Raises CannotRun.

    `path` is a result.json, or a measured.json that locust wrote in a container or on another machine. The latter is
    judged now.
    """
    try:
        done = outcome.decode(path.read_bytes())
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}") from None
    except (msgspec.ValidationError, msgspec.DecodeError):
        result = _measured(path)
        limits = thresholds.load(limits_file, result.scenario)
        done = thresholds.judged(result, limits, str(result.options.get("host", "")))
    try:
        path.with_name("report.html").write_text(page.render(done))
    except OSError as error:
        raise CannotRun(f"{path.with_name('report.html')}: {error.strerror}") from None
    terminal.show(screen.console, done)
    return 1 if done.broken else 0


def new_report(folder: Path) -> Path:
    """Makes a folder for one run, named after the time."""
    name = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 100):
        path = folder / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise CannotRun(f"{path}: {error.strerror}") from None
        return path
    raise CannotRun(f"{folder / name}: a hundred runs in one second")


async def _locust(options: Options, there: Target, report: Path, screen: Screen, stop: Stop) -> None:
    """Returns when locust has ended, by itself or because somebody asked for it."""
    stop.on_asked = nothing  # from here on there is something to report
    log = Log(report / "locust.log")
    with Progress(screen, options.run_time_s) as progress:
        locust = LocustProcess(progress.show, _lines_to(log, screen))
        await locust.start(locust_process.command(options, there.url, report), locust_process.environment(report))
        if options.metrics_port:
            screen.say(f"Prometheus can read this run's figures at http://127.0.0.1:{options.metrics_port}/metrics")
        try:
            async with asyncio.timeout(options.run_time_s + START_S + locust_process.GRACE_S):
                await until_end(locust, screen, stop)
        except TimeoutError:
            screen.warn("locust did not end in time: killed")
        finally:
            locust.kill()
            log.close()
    if not (report / MEASURED).exists():
        where = _short(report / "locust.log")
        raise CannotRun(f"locust ended without a result; it said: {locust.last_words} (all of it: {where})")


async def until_end(locust: LocustProcess, screen: Screen, stop: Stop) -> None:
    """Returns when locust has ended. After Ctrl-C it has GRACE_S to write what there is; then it is killed."""
    running = asyncio.create_task(locust.wait())
    asked = asyncio.create_task(stop.asked.wait())
    at_once = asyncio.create_task(stop.at_once.wait())
    try:
        await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            screen.say("Ending the run ... (once more to kill)")
            locust.ask_to_end()
            done, _ = await asyncio.wait(
                [running, at_once], return_when=asyncio.FIRST_COMPLETED, timeout=locust_process.GRACE_S
            )
            if running not in done:
                screen.warn("locust was killed")
                locust.kill()
        await running
    finally:
        for task in (running, asked, at_once):
            task.cancel()


def _require_free(port: int) -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            raise CannotRun(f"port {port} is taken: choose another with METRICS_PORT=") from None


def nothing() -> None:
    """For `Stop.on_asked`, once there is something to report: `until_end` sees Ctrl-C, nothing is cancelled."""


def _lines_to(log: Log, screen: Screen) -> Callable[[str], None]:
    """Writes each line into the log, and the first ten warnings to the screen too."""
    shown = 0

    def take(line: str) -> None:
        nonlocal shown
        log.write(line)
        if shown < MOST_WARNINGS and ("/WARNING/" in line or "/ERROR/" in line or "/CRITICAL/" in line):
            shown += 1
            screen.warn(line)

    return take


def _measured(path: Path) -> Result:
    try:
        return decode_result(path.read_bytes())
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise CannotRun(f"{_short(path)} is not the result of a run: {error}") from None


def _short(path: Path) -> str:
    """The path from the working folder, where it lies within."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
