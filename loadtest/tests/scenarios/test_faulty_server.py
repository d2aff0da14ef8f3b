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
from loadtest.ledger.result import Result
from loadtest.runner.figures import figures
from loadtest.runner.options import FOLDER
from loadtest.runner.thresholds import judge, load
from loadtest.tests.scenarios.locust_run import ROOT, LocustRun

from sio_stack.settings import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

OPTIONS = ("-u", "20", "-r", "40", "--room-size", "10", "--publish-rate", "50", "--transports", "websocket=1,polling=1")
START_S = 20.0
UNCERTAIN = {"max_uncertain_percent"}  # much of a short run falls into the joins


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


IMPATIENT = """
from loadtest.scenarios import browser_user, session

browser_user.CONNECT_S = 1.5
session.ACKS_S = 2.0

from loadtest.locustfile import *
"""


def reported(result: Result) -> dict[str, int]:
    """In the server's words."""
    found = result.integrity
    return {
        "lost": found.lost,
        "duplicated": found.duplicated,
        "reordered": found.reordered,
        "strayed": found.misdelivered,
        "kicked": result.disconnects_unasked,
        "unanswered": sum(result.unanswered.values()),
        "swallowed": sum(result.connects.failed.values()),
    }


@pytest.mark.parametrize(
    ("fault", "every", "broken"),
    [
        ("stray", 100, {"max_misdelivered"}),
        ("kick", 700, {"max_disconnects", "max_absent"}),
        ("unheard", 50, {"max_unanswered"}),
        ("unacked", 50, {"max_unanswered"}),
        ("swallow", 7, {"max_failed_connects"}),
        ("none", 1, set()),
    ],
)
def test_nothing_wrong_passes(fault: str, every: int, broken: set[str], tmp_path: Path) -> None:
    """What leaves no gap between deliveries is counted too, once, and breaks a limit of the file that comes along."""
    file = tmp_path / "impatient.py"
    file.write_text(IMPATIENT)
    with faulty_server(fault, every) as url:
        result, _ = LocustRun.start(tmp_path, url, 6, *OPTIONS, "--exit-code-on-error", "0", file=file).end()
        did = faults(url)
    assert did is not None
    assert reported(result) == did
    assert (sum(did.values()) > 0) == (fault != "none"), "the server did what it was told"
    assert result.absent == did["kicked"]
    limits = {name: bound for name, bound in load(FOLDER / "thresholds.toml", "fanout").items() if "_ms" not in name}
    assert {each.limit for each in judge(limits, figures(result, None)) if each.kept is False} - UNCERTAIN == broken


@pytest.mark.parametrize("every", [100, 1000])
@pytest.mark.parametrize("fault", ["lose", "double", "swap"])
def test_it_is_reported_exactly(fault: str, every: int, tmp_path: Path) -> None:
    """About 20 members at 50 deliveries a second each, 4 s long: one in a hundred or a thousand goes wrong."""
    with faulty_server(fault, every) as url:
        result, _ = LocustRun.start(tmp_path, url, 5, *OPTIONS).end()
        did = faults(url)
    found = result.integrity
    assert did is not None
    assert reported(result) == did
    assert sum(did.values()) > (5 if every == 100 else 0), "the server did what it was told"
    assert not found.is_whole
    assert sum(flaw.lost + flaw.duplicated + flaw.reordered for flaw in found.worst) == sum(did.values())
    assert found.unknown == 0
    assert result.latency_by_transport.keys() == {"polling", "websocket"}
