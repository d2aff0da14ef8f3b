"""/metrics of a run without locust's web interface. Locust runs in a process of its own, as in test_web_tab."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from loadtest.runner.options import FOLDER

from sio_stack.settings import free_ports

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def locust() -> Iterator[httpx.Client]:
    port = free_ports(1)[0]
    words = ["-f", str(Path(__file__).parent / "tab_locustfile.py"), "--headless", "--users", "1", "--host", "http://x"]
    words += ["--web-host", "127.0.0.1", "--metrics-port", str(port)]
    env = os.environ | {"PYTHONPATH": str(FOLDER.parent)}
    with (
        subprocess.Popen([sys.executable, "-m", "locust", *words], env=env, cwd=FOLDER.parent) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http,
    ):
        try:
            _wait_for(http, process)
            yield http
        finally:
            process.kill()


def _wait_for(http: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            http.get("/metrics")
            return
        except httpx.TransportError:
            time.sleep(0.05)
    pytest.fail("nobody answers at --metrics-port")


def test_prometheus_can_ask(locust: httpx.Client) -> None:
    answer = locust.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "loadtest_clients 100" in answer.text.splitlines()
    assert 'loadtest_latency_seconds{share="0.99"} 0.008' in answer.text.splitlines()


def test_nothing_else_is_there(locust: httpx.Client) -> None:
    assert locust.get("/").status_code == 404
