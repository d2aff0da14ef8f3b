"""locust as a process of its own, because it patches its interpreter, and a client of what it serves."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import pytest
from loadtest.runner.options import FOLDER


@contextmanager
def serving(words: Sequence[str], port: int, path: str, env: dict[str, str] | None = None) -> Iterator[httpx.Client]:
    """From when it answers a GET of `path` with 200. `words`: its options."""
    environment = os.environ | {"PYTHONPATH": str(FOLDER.parent)} | (env or {})
    with (
        subprocess.Popen([sys.executable, "-m", "locust", *words], env=environment, cwd=FOLDER.parent) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        try:
            _wait_for(http, path, process)
            yield http
        finally:
            process.kill()


def _wait_for(http: httpx.Client, path: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get(path).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    pytest.fail(f"locust does not serve {path}")
