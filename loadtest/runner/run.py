"""One run from its checks to its exit status."""

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from loadtest.ledger.result import Result
from loadtest.ledger.result import decode as decode_result
from loadtest.runner import locust_process, outcome, page, summary, thresholds
from loadtest.runner.cluster import Target, target
from loadtest.runner.figures import busy_window
from loadtest.runner.locust_process import LocustProcess
from loadtest.runner.options import CannotRun, Options
from loadtest.runner.sampler import Sampler
from loadtest.runner.screen import Progress, Screen

MEASURED = "measured.json"  # what locust writes, until it stands in result.json
MOST_LOG_BYTES = 10_000_000
MOST_WARNINGS = 10
START_S = 60  # for locust to begin, beyond its run time and its end
LATER_S = 0.5


class Stop:
    """The first Ctrl-C, SIGTERM or SIGHUP asks for an orderly end, a later Ctrl-C for an immediate one.

    `starting` is the task that has nothing to report yet: it is cancelled. None once there is something.
    """

    def __init__(self) -> None:
        self.starting: asyncio.Task[int] | None = None
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self._first = 0.0

    def listen(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._signal, number)

    def _signal(self, number: signal.Signals) -> None:
        now = time.monotonic()
        if not self.asked.is_set():
            self._first = now
            self.asked.set()
            if self.starting is not None:
                self.starting.cancel()
        elif number == signal.SIGINT and now - self._first > LATER_S:  # some wrappers pass one Ctrl-C on twice
            self.at_once.set()


class Log:
    """A file for the output of a part, bounded: what is beyond its bound is counted."""

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
    """0: within the limits. 1: a limit is broken. Raises CannotRun."""
    limits = thresholds.load(options.thresholds, options.scenario)
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
        with suppress(OSError):  # something was said: the folder stays
            report.rmdir()
    result = _measured(report / MEASURED)
    use = sampler.use(*busy_window(result), result.totals.deliveries) if there.embedded else None
    io_nodes = options.io_nodes if there.embedded else 0
    done = outcome.judged(result, limits, there.url, embedded=there.embedded, io_nodes=io_nodes, server=use)
    done.interrupted = stop.asked.is_set()
    (report / "result.json").write_bytes(outcome.encode(done))
    (report / "report.html").write_text(page.render(done))
    (report / MEASURED).unlink()
    summary.show(screen.console, done)
    screen.say(f"Report: {_short(report / 'report.html')}")
    return 1 if done.broken else 0


def show_again(path: Path, limits_file: Path, screen: Screen) -> int:
    """Prints a former run, and writes its page beside it. The exit status as of the run itself; raises CannotRun.

    Also of what locust alone has measured, in a container or on another machine: it is judged now.
    """
    try:
        done = outcome.decode(path.read_bytes())
    except OSError as error:
        raise CannotRun(f"{path}: {error.strerror}") from None
    except (msgspec.ValidationError, msgspec.DecodeError):
        result = _measured(path)
        done = outcome.judged(
            result, thresholds.load(limits_file, result.scenario), str(result.options.get("host", ""))
        )
    try:
        path.with_name("report.html").write_text(page.render(done))
    except OSError as error:
        raise CannotRun(f"{path.with_name('report.html')}: {error.strerror}") from None
    summary.show(screen.console, done)
    return 1 if done.broken else 0


def new_report(folder: Path) -> Path:
    """A folder of its own for each run, named after the time."""
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
    """Returns when locust has ended, by itself or because that was asked for."""
    stop.starting = None
    log = Log(report / "locust.log")
    with Progress(screen, options.run_time_s) as progress:
        locust = LocustProcess(progress.show, _lines_to(log, screen))
        await locust.start(locust_process.command(options, there.url, report), locust_process.environment(report))
        try:
            async with asyncio.timeout(options.run_time_s + START_S + locust_process.GRACE_S):
                await until_end(locust, screen, stop)
        except TimeoutError:
            screen.warn("locust did not end in time: killed")
        finally:
            locust.kill()
            log.close()
    if not (report / MEASURED).exists():
        said = next((line for line in reversed(locust.lines) if line.strip()), "nothing")
        raise CannotRun(f"locust ended without a result; it said: {said} (all of it: {_short(report / 'locust.log')})")


async def until_end(locust: LocustProcess, screen: Screen, stop: Stop) -> None:
    """Until locust ends; where a stop is asked for, it has its grace to write what there is."""
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


def _lines_to(log: Log, screen: Screen) -> Callable[[str], None]:
    """All into the log; the first warnings on the screen too."""
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
    """From the working folder on, where it lies within."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
