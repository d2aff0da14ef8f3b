"""One run of locust in a process of its own, so that gevent does not patch the test process."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from loadtest.accounting.result import LIVE, Result, decode

ROOT = Path(__file__).parents[3]
LIMIT_S = 90.0


class LocustRun:
    """A run that has started. Ctrl-C ends it `seconds` after all `users` were there for the first time.

    The seconds are those that locust reports, so a slow start does not shorten the run. With `seconds` None it ends by
    itself, or by `interrupt`.
    """

    def __init__(
        self, folder: Path, url: str, seconds: int | None, *arguments: str, users: int = 20, file: Path | None = None
    ) -> None:
        self._result = folder / "result.json"
        locustfile = str(file or ROOT / "loadtest/locustfile.py")
        words = [sys.executable, "-m", "locust", "-f", locustfile, "--host", url, "--headless", "--only-summary"]
        words += ["--loglevel", "WARNING", "--stop-timeout", "5", "-t", f"{LIMIT_S:g}s", *arguments]
        env = os.environ | {"PYTHONPATH": str(ROOT), "LOADTEST_RESULT": str(self._result), "PYTHONUNBUFFERED": "1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(words, env=env, cwd=folder, stdout=pipe, stderr=subprocess.STDOUT, text=True)
        self._seconds = seconds
        self._users = users
        self._full_at: int | None = None  # how many seconds were reported before all users were there
        self._live: list[dict[str, Any]] = []
        self._output: list[str] = []
        self._moved = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def interrupt(self) -> None:
        """As Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def reports(self, seconds: int, *, more: bool = False) -> None:
        """Waits until locust has reported so many seconds with all users; with `more`, so many from now on."""
        with self._moved:
            goal = seconds + (self._full_seconds if more else 0)
            assert self._moved.wait_for(lambda: self._full_seconds >= goal, LIMIT_S), self._output

    def end(self) -> tuple[Result, list[dict[str, Any]]]:
        """The result, and the live figures that were printed."""
        try:
            self._process.wait(LIMIT_S)
            self._reader.join(LIMIT_S)
        finally:
            self._process.kill()
        output = "".join(self._output)
        assert self._process.returncode == 0, output
        assert "Traceback" not in output, output
        return decode(self._result.read_bytes()), self._live

    @property
    def _full_seconds(self) -> int:
        return 0 if self._full_at is None else len(self._live) - self._full_at

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._moved:
                self._output.append(line)
                if line.startswith(LIVE):
                    self._take(json.loads(line[len(LIVE) :]))
                    self._moved.notify_all()

    def _take(self, second: dict[str, Any]) -> None:
        if self._full_at is None and second["clients"] >= self._users:
            self._full_at = len(self._live)
        self._live.append(second)
        if self._seconds is not None and self._full_seconds == self._seconds:
            self.interrupt()
