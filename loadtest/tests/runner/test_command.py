"""`make loadtest` as its user sees it, in small: with its own cluster, with one that is there, and interrupted."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from loadtest.errors import CannotRun
from loadtest.reporting import outcome
from loadtest.reporting.outcome import Outcome
from loadtest.runner.cluster import check
from loadtest.runner.options import FOLDER
from tests.conftest import BackgroundStack

from sio_stack.settings import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

SMALL = {"USERS": "20", "SPAWN_RATE": "20", "RUN_TIME": "4", "PROCESSES": "1", "IO_NODES": "2", "COLUMNS": "100"}


class Command:
    """`python -m loadtest`, its output and its report."""

    def __init__(self, folder: Path, *arguments: str, output: int = subprocess.PIPE, **env: str) -> None:
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loadtest", "--report-dir", str(folder), *arguments],
            env=os.environ | SMALL | env,
            cwd=FOLDER.parent,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        self.errors = ""

    def status(self) -> int:
        self.said, self.errors = self.process.communicate(timeout=100)
        return self.process.returncode

    def outcome(self) -> Outcome:
        (report,) = self._folder.iterdir()
        return outcome.decode((report / "result.json").read_bytes())


class Screen:
    """What a terminal shows."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._shown = b""

    def until(self, text: bytes) -> None:
        while text not in self._shown:
            self._shown += os.read(self._terminal, 65536)
        self._shown = self._shown.partition(text)[2]


@pytest.fixture
def url() -> str:
    """Where nobody listens."""
    return f"http://localhost:{free_ports(1)[0]}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[BackgroundStack]:
    with BackgroundStack(io_nodes=2, app_nodes=1, env={"LOADTEST": "1", "DRAIN_MS": "200"}) as cluster:
        yield cluster


@pytest.mark.ci_only
def test_without_a_cluster_it_starts_one_and_measures_its_cost(tmp_path, url):
    command = Command(tmp_path, URL=url)
    assert command.status() == 0, command.said + command.errors
    done = command.outcome()
    assert (done.embedded, done.io_nodes, done.broken) == (True, 2, [])
    assert done.result.totals.clients_max == 20
    assert done.result.totals.deliveries > 100
    assert set(done.result.clients_by_io_node) == {"io1", "io2"}
    assert done.server is not None
    assert {part.name for part in done.server.parts} == {"nginx", "io1", "io2", "app1", "valkey"}
    assert done.server.cpu_us_per_delivery
    (report,) = tmp_path.iterdir()
    assert {"report.html", "locust.html", "locust.json", "locust_stats.csv"} <= {path.name for path in report.iterdir()}
    assert "deliveries/s" in command.said


def test_a_cluster_that_is_there_is_used_and_a_broken_limit_is_status_1(tmp_path, cluster):
    limits = tmp_path / "thresholds.toml"
    limits.write_text("[limits]\nmax_lost = 0\nmin_deliveries_per_s = 1e9\nmax_server_memory_mb = 1\n")
    command = Command(tmp_path / "report", "--thresholds", str(limits), "--publish-rate", "20", URL=cluster.stack.url)
    assert command.status() == 1, command.said + command.errors
    done = command.outcome()
    assert (done.embedded, done.server) == (False, None)
    assert [judgement.limit for judgement in done.broken] == ["min_deliveries_per_s"]
    assert "Broken: deliveries per s" in command.said
    assert "Not judged: server memory mb" in command.said
    assert str(done.result.options["publish_rate"]) == "20"


def test_an_unknown_scenario_is_status_2_and_said(tmp_path, cluster):
    command = Command(tmp_path, URL=cluster.stack.url, SCENARIO="nonsense")
    assert command.status() == 2
    assert "nonsense" in command.errors


@pytest.mark.ci_only
def test_interrupted_it_reports_what_there_is_and_leaves_nothing_behind(tmp_path, url):
    terminal, end = pty.openpty()  # a terminal shows the progress each second, a pipe every ten seconds
    command = Command(tmp_path, URL=url, RUN_TIME="1h", TERM="xterm", output=end)
    os.close(end)
    screen = Screen(terminal)
    screen.until(b" 20 clients")
    family = psutil.Process(command.process.pid).children(recursive=True)
    command.process.send_signal(signal.SIGINT)
    screen.until(b"Report: ")
    assert command.status() == 0, command.errors
    assert command.outcome().interrupted
    assert len(family) > 6
    assert psutil.wait_procs(family, timeout=10)[1] == []


def test_interrupted_while_the_cluster_starts_it_stops_what_was_started(tmp_path, url):
    command = Command(tmp_path, URL=url)
    assert command.process.stdout is not None
    next(line for line in command.process.stdout if "starting a cluster there" in line)
    deadline = time.monotonic() + 20
    while not psutil.Process(command.process.pid).children() and time.monotonic() < deadline:
        time.sleep(0.01)
    family = psutil.Process(command.process.pid).children(recursive=True)
    command.process.send_signal(signal.SIGINT)
    assert command.status() == 2
    assert "interrupted before the run began" in command.errors
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ci_only
def test_the_web_interface_runs_it_and_has_its_report(tmp_path, cluster):
    port = free_ports(1)[0]
    command = Command(tmp_path, "--ui", URL=cluster.stack.url, UI_PORT=str(port))
    assert command.process.stdout is not None
    next(line for line in command.process.stdout if f"Open http://localhost:{port}" in line)
    with httpx.Client(base_url=f"http://localhost:{port}", trust_env=False) as http:
        form = {"user_count": "20", "spawn_rate": "20", "run_time": "5s", "host": cluster.stack.url}
        assert http.post("/swarm", data=form).json()["success"]
        deadline = time.monotonic() + 60
        while (clients := _clients(http)) != "20" and time.monotonic() < deadline:
            time.sleep(0.1)
        assert clients == "20"
        while (report := http.get("/fan-out/report")).status_code == 404 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert report.status_code == 200
        assert "20 clients" in report.text
    command.process.send_signal(signal.SIGINT)
    assert command.status() == 0, command.said + command.errors


def _clients(http: httpx.Client) -> str:
    """How many clients the tab Fan-out shows, "" where it shows nothing yet."""
    tables = http.get("/stats/requests").json().get("extended_stats", [])
    rows = {row["figure"]: row["now"] for table in tables for row in table["data"]}
    return str(rows.get("Clients", ""))


@pytest.mark.ci_only
def test_a_reader_that_goes_away_is_no_reason_to_stop(tmp_path, cluster):
    command = Command(tmp_path, URL=cluster.stack.url)
    assert command.process.stdout is not None
    command.process.stdout.readline()
    command.process.stdout.close()
    assert command.process.wait(60) == 0
    assert command.outcome().broken == []


@pytest.mark.ci_only  # test_settings.py of the stack has the setting, test_cluster.py the answer of such a server
@pytest.mark.parametrize(("setting", "words"), [("", ""), ("0", "has no /loadtest namespace")])
def test_make_run_takes_part_unless_it_is_told_not_to(setting, words, url):
    env = os.environ | {"PORT": url.rpartition(":")[2], "IO_NODES": "1", "LOADTEST": setting}
    with subprocess.Popen([sys.executable, "-m", "sio_stack"], env=env, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        try:
            assert any("is ready" in line for line in run.stdout)
            if words:
                with pytest.raises(CannotRun, match=words):
                    asyncio.run(check(url))
            else:
                asyncio.run(check(url))
        finally:
            run.terminate()
