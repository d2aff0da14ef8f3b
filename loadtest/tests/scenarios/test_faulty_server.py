"""What a server does wrong is reported exactly: no more, no less."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loadtest.tests.scenarios.locust_run import ROOT, LocustRun

from sio_stack.settings import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

OPTIONS = ("-u", "20", "-r", "40", "--room-size", "10", "--publish-rate", "50", "--transports", "websocket=1,polling=1")
START_S = 20.0


@contextmanager
def faulty_server(fault: str, every: int) -> Iterator[str]:
    (port,) = free_ports(1)
    words = [sys.executable, "-m", "loadtest.tests.scenarios.faulty_server", str(port), fault, str(every)]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        url = f"http://127.0.0.1:{port}"
        end = time.monotonic() + START_S
        while faults(url) is None:
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def faults(url: str) -> dict[str, int] | None:
    """What it has done so far; None while it does not answer."""
    try:
        with urllib.request.urlopen(f"{url}/faults", timeout=5) as answer:
            found: dict[str, int] = json.load(answer)
            return found
    except (urllib.error.URLError, ConnectionError):
        return None


@pytest.mark.parametrize("fault", ["lose", "double", "swap", "none"])
def test_it_is_reported_exactly(fault: str, tmp_path: Path) -> None:
    """About 20 members at 50 deliveries a second each, 4 s long: one in a hundred goes wrong."""
    with faulty_server(fault, 100) as url:
        result, _ = LocustRun.start(tmp_path, url, 5, *OPTIONS).end()
        did = faults(url)
    found = result.integrity
    assert did == {"lost": found.lost, "duplicated": found.duplicated, "reordered": found.reordered}
    assert (sum(did.values()) > 5) == (fault != "none"), "the server did what it was told"
    assert found.is_whole == (fault == "none")
    assert sum(flaw.lost + flaw.duplicated + flaw.reordered for flaw in found.worst) == sum(did.values())
    assert found.unknown == 0
    assert result.latency_by_transport.keys() == {"polling", "websocket"}
