"""Locust as a child process: its command, its output line by line, its orderly and its forced end."""

import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from loadtest.accounting.result import LIVE
from loadtest.runner.options import FOLDER, Options
from sio_stack.child import Child
from sio_stack.settings import free_ports

STOP_TIMEOUT_S = 5  # for users to leave politely
GRACE_S = STOP_TIMEOUT_S + 60.0  # for deliveries under way and the reports of all workers; then locust is killed
LINES_KEPT = 200
WORKERS_END_S = 5.0  # after their master


def command(options: Options, url: str, report: Path) -> list[str]:
    """A headless run that leaves its files in `report`."""
    words = [*_common(options, url), "--headless", "--run-time", f"{options.run_time_s}s", "--only-summary"]
    words += ["--html", str(report / "locust.html"), "--csv", str(report / "locust")]
    words += ["--json-file", str(report / "locust"), "--exit-code-on-error", "0"]
    if options.metrics_port:
        words += ["--web-host", "127.0.0.1", "--metrics-port", str(options.metrics_port)]
    return [*words, *options.more]


def web_command(options: Options, url: str, port: int) -> list[str]:
    """Locust's web interface on this machine. Somebody starts the run there by hand."""
    words = [*_common(options, url), "--web-host", "127.0.0.1", "--web-port", str(port)]
    return [*words, "--run-time", f"{options.run_time_s}s", *options.more]


def environment(report: Path) -> dict[str, str]:
    """Locust's environment: it says where the result goes, and where our packages are."""
    here = str(FOLDER.parent)
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {
        **os.environ,
        "PYTHONPATH": paths,
        "PYTHONUNBUFFERED": "1",
        "LOADTEST_RESULT": str(report / "measured.json"),
    }


def _common(options: Options, url: str) -> list[str]:
    words = [sys.executable, "-m", "locust", "-f", str(FOLDER / "locustfile.py"), "--host", url]
    words += ["--scenario", options.scenario, "--stop-timeout", str(STOP_TIMEOUT_S), "--loglevel", "WARNING"]
    words += ["--users", str(options.users), "--spawn-rate", f"{options.spawn_rate:g}"]
    port = str(free_ports(1)[0])
    words += ["--processes", str(options.processes), "--master-host", "127.0.0.1", "--master-port", port]
    return [*words, "--master-bind-host", "127.0.0.1", "--master-bind-port", port]


class LocustProcess:
    """`on_live` gets the figures of each second, `on_line` every other line. `lines` keeps the last 200 of those."""

    def __init__(self, on_live: Callable[[Mapping[str, float]], None], on_line: Callable[[str], None]) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._on_live = on_live
        self._on_line = on_line
        self._child = Child(self._take)

    async def start(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        await self._child.start(words, env, FOLDER.parent)

    async def wait(self) -> int:
        """Its exit status, once it and its workers have ended and all of its output is read.

        Sometimes a worker does not notice that its master is gone and would stay for a minute. Then it is killed.
        """
        status = await self._child.wait()
        if not await self._child.read_all(WORKERS_END_S):
            self.kill()
            await self._child.read_all(WORKERS_END_S)
        return status

    def ask_to_end(self) -> None:
        """As Ctrl-C does: locust ends the test and writes its files."""
        self._child.signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends locust and its workers now."""
        self._child.kill()

    @property
    def last_words(self) -> str:
        """The last line that is not empty."""
        return next((line for line in reversed(self.lines) if line.strip()), "nothing")

    def _take(self, line: str) -> None:
        if line.startswith(LIVE):
            with contextlib.suppress(msgspec.DecodeError):  # another process wrote into this line; the next one comes
                self._on_live(msgspec.json.decode(line[len(LIVE) :], type=dict[str, float]))
                return
        self.lines.append(line)
        self._on_line(line)
