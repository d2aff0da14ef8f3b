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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from loadtest.runner.options import FOLDER, Options
from sio_stack.process import die_with_parent, lines_of
from sio_stack.settings import free_ports

LIVE = "@live "
STOP_TIMEOUT_S = 5  # given to users to leave politely
GRACE_S = STOP_TIMEOUT_S + 60.0  # for what is under way to arrive, and for every worker to report; then it is killed
LINES_KEPT = 200
WORKERS_END_S = 5.0  # after their master


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
        self._reader: asyncio.Task[None] | None = None

    async def start(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        # Not asyncio's own pipe: with that, wait() returns only when locust's workers have closed it too.
        output, end = os.pipe()
        try:
            self._child = await asyncio.create_subprocess_exec(
                *words,
                env=dict(env),
                cwd=FOLDER.parent,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(end)
        self._reader = asyncio.create_task(self._read(output))

    async def wait(self) -> int:
        """Its exit status, when it and its workers have ended and all of its output is read.

        Now and then a worker misses that its master goes, and would stay for a minute: it is killed.
        """
        assert self._child is not None
        assert self._reader is not None
        status = await self._child.wait()
        _, waiting = await asyncio.wait([self._reader], timeout=WORKERS_END_S)
        if waiting:
            self.kill()
        await self._reader
        return status

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

    async def _read(self, output: int) -> None:
        async for line in lines_of(output):
            self._take(line)

    def _take(self, line: str) -> None:
        if line.startswith(LIVE):
            with contextlib.suppress(msgspec.DecodeError):  # a line that another process broke into: the next one comes
                self._on_live(msgspec.json.decode(line[len(LIVE) :], type=dict[str, float]))
                return
        self.lines.append(line)
        self._on_line(line)
