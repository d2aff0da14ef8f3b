"""What a server does wrong is reported exactly: no more, no less.

How each fault is counted is also tested without a run: test_settle.py, test_account.py and test_stream.py. So the quick
suite makes a run with a loss, one with a client that is cut off and one without faults; CI makes all of them.
"""

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
from loadtest.accounting.result import Result
from loadtest.reporting.thresholds import FILE, figures, judge, load
from loadtest.tests.scenarios.locust_run import ROOT, LocustRun

from sio_stack.settings import free_ports

pytestmark = [
    pytest.mark.forked("loadtest.tests.scenarios.faulty_server"),
    pytest.mark.e2e,
    pytest.mark.timeout(120),
]

OPTIONS = ("-u", "20", "-r", "40", "--room-size", "10", "--publish-rate", "50", "--transports", "websocket=1,polling=1")
START_S = 20.0
CI_ONLY = pytest.mark.ci_only
UNCERTAIN = {"max_uncertain_percent"}  # in a short run, many emits fall into a join


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
browser_user.AGAIN_S = 0.2
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
        pytest.param("stray", 100, {"max_misdelivered"}, marks=CI_ONLY),
        pytest.param("kick", 700, {"max_disconnects", "max_absent"}, marks=CI_ONLY),
        pytest.param("unheard", 50, {"max_unanswered"}, marks=CI_ONLY),
        pytest.param("unacked", 50, {"max_unanswered"}, marks=CI_ONLY),
        pytest.param("swallow", 7, {"max_failed_connects"}, marks=CI_ONLY),
        pytest.param("none", 1, set(), marks=CI_ONLY),
    ],
)
def test_nothing_wrong_passes(fault: str, every: int, broken: set[str], tmp_path: Path) -> None:
    """Faults that leave no gap between deliveries are counted too, once, and break a limit of thresholds.toml."""
    file = tmp_path / "impatient.py"
    file.write_text(IMPATIENT)
    with faulty_server(fault, every) as url:
        result, _ = LocustRun(
            tmp_path, url, 3 if fault in ("kick", "none") else 5, *OPTIONS, "--exit-code-on-error", "0", file=file
        ).end()
        did = faults(url)
    assert did is not None
    assert reported(result) == did
    assert (sum(did.values()) > 0) == (fault != "none"), "the server did what it was told"
    assert result.absent == did["kicked"]
    limits = {name: bound for name, bound in load(FILE, "fanout").items() if "_ms" not in name}
    assert {each.limit for each in judge(limits, figures(result, None)) if each.kept is False} - UNCERTAIN == broken


@pytest.mark.parametrize(
    ("fault", "every"),
    [
        ("lose", 100),
        *(pytest.param(fault, 100, marks=CI_ONLY) for fault in ("double", "swap")),
        *(pytest.param(fault, 1000, marks=CI_ONLY) for fault in ("lose", "double", "swap")),
    ],
)
def test_it_is_reported_exactly(fault: str, every: int, tmp_path: Path) -> None:
    """20 members with 50 deliveries a second each: one in a hundred or in a thousand goes wrong."""
    with faulty_server(fault, every) as url:
        result, _ = LocustRun(tmp_path, url, 3 if every == 100 else 5, *OPTIONS).end()
        did = faults(url)
    found = result.integrity
    assert did is not None
    assert reported(result) == did
    assert sum(did.values()) > (5 if every == 100 else 0), "the server did what it was told"
    assert not found.is_whole
    assert sum(flaw.lost + flaw.duplicated + flaw.reordered for flaw in found.worst) == sum(did.values())
    assert found.unknown == 0
    assert result.latency_by_transport.keys() == {"polling", "websocket"}
