"""locust as a child process: its command, its output line by line, its orderly and its forced end.

It has a session of its own, so that Ctrl-C reaches the runner alone, which then asks locust to end its test and to
write what it has. Where the runner itself is killed, locust dies with it (Linux).
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from loadtest.runner.options import FOLDER, Options
from sio_stack.process import die_with_parent
from sio_stack.settings import free_ports

LIVE = "@live "
STOP_TIMEOUT_S = 5  # given to users to leave politely
GRACE_S = STOP_TIMEOUT_S + 60.0  # for what is under way to arrive, and for every worker to report; then it is killed
LINES_KEPT = 200
LONGEST_LINE = 65_536


def command(options: Options, url: str, report: Path) -> list[str]:
    """A headless run that leaves its files in `report`."""
    words = [*_common(options, url), "--headless", "--run-time", f"{options.run_time_s}s", "--only-summary"]
    words += ["--html", str(report / "locust.html"), "--csv", str(report / "locust")]
    words += ["--json-file", str(report / "locust"), "--exit-code-on-error", "0"]
    return [*words, *options.more]


def web_command(options: Options, url: str, port: int) -> list[str]:
    """locust's web interface on this machine; the run is started there, by hand."""
    words = [*_common(options, url), "--web-host", "127.0.0.1", "--web-port", str(port)]
    return [*words, "--run-time", f"{options.run_time_s}s", *options.more]


def environment(report: Path) -> dict[str, str]:
    """The environment of locust: where its result goes, and where our packages are."""
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
    """`on_live` gets the figures of each second, `on_line` every other line. `lines` keeps the last of those."""

    def __init__(self, on_live: Callable[[Mapping[str, float]], None], on_line: Callable[[str], None]) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._on_live = on_live
        self._on_line = on_line
        self._child: asyncio.subprocess.Process | None = None

    async def start(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        self._child = await asyncio.create_subprocess_exec(
            *words,
            env=dict(env),
            cwd=FOLDER.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )

    async def wait(self) -> int:
        """Reads until it ends, and returns its exit status."""
        assert self._child is not None
        assert self._child.stdout is not None
        async for line in _lines(self._child.stdout):
            self._take(line)
        return await self._child.wait()

    def ask_to_end(self) -> None:
        """As Ctrl-C does: it ends the test and writes its files."""
        self._signal(signal.SIGINT)

    def kill(self) -> None:
        """Ends it and its workers now."""
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self._child is not None and self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended; asyncio does not know yet
                os.kill(self._child.pid, number)

    def _take(self, line: str) -> None:
        if line.startswith(LIVE):
            with contextlib.suppress(msgspec.DecodeError):  # a line that another process broke into: the next one comes
                self._on_live(msgspec.json.decode(line[len(LIVE) :], type=dict[str, float]))
                return
        self.lines.append(line)
        self._on_line(line)


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    """Lines of any output; one that is too long comes in pieces."""
    rest = b""
    while chunk := await stream.read(65_536):
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            whole, rest = [*whole, rest], b""
        for line in whole:
            yield line.decode(errors="replace").rstrip("\r")
    if rest:
        yield rest.decode(errors="replace")
