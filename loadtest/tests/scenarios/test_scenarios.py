"""Each scenario against a cluster, with few clients: it does what its name says, and nothing is missing."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loadtest.accounting.result import Result
from loadtest.tests.scenarios.locust_run import ROOT, LocustRun
from tests.conftest import BackgroundStack

from sio_stack.settings import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

USERS = 20
COMMON = ("-u", str(USERS), "-r", "40", "--room-size", "10", "--publish-rate", "10")
MIXED = ("--transports", "upgrade=2,websocket=1,polling=1")
TOGETHER: dict[str, tuple[str, ...]] = {
    "fanout": MIXED,
    "chat": MIXED,
    "rpc": MIXED,
    "churn": ("--stay", "1"),
    "reconnect-storm": ("--storm-every", "2"),
    "slow-consumers": ("--slow-share", "0.3", "--payload-bytes", "1000"),
    "ramp": ("--ramp-start", "20", "--ramp-factor", "2", "--ramp-step", "5", "--ramp-steps", "2", "--ramp-p99", "2000"),
}

Told = tuple[Result, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def loaded_cluster() -> Iterator[BackgroundStack]:
    with BackgroundStack(io_nodes=2, app_nodes=1, port=0, env={"LOADTEST": "1", "LOG_FORMAT": "json"}) as cluster:
        yield cluster
    assert cluster.errors == []


SOON = ("fanout",)
"""What `make test` runs; the others are longer runs of what loadtest/tests proves part by part."""


def run_in_ci(scenario: str) -> Any:
    return scenario if scenario in SOON else pytest.param(scenario, marks=pytest.mark.ci_only)


@pytest.fixture(scope="session")
def runs(loaded_cluster: BackgroundStack, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    """Scenarios that do not hear each other run at the same time: those of SOON, then the others."""
    started: dict[str, LocustRun] = {}
    ended: dict[str, Told] = {}

    def outcome(name: str) -> Told:
        if name not in started:
            for scenario, options in TOGETHER.items():
                if (scenario in SOON) != (name in SOON):
                    continue
                folder = tmp_path_factory.mktemp(scenario)
                arguments = ("--scenario", scenario, *COMMON, *options)
                seconds = None if scenario == "ramp" else 6
                users = 3 if scenario == "churn" else USERS  # its clients are seldom there all at once
                started[scenario] = LocustRun(folder, loaded_cluster.stack.url, seconds, *arguments, users=users)
        if name not in ended:
            ended[name] = started[name].end()
        return ended[name]

    return outcome


@pytest.mark.parametrize("scenario", [run_in_ci(scenario) for scenario in TOGETHER])
def test_nothing_is_missing(scenario: str, runs: Callable[[str], Told]) -> None:
    result, live = runs(scenario)
    integrity = result.integrity
    assert result.scenario == scenario
    assert integrity.is_whole, integrity
    assert result.connects.failed == {}
    assert sum(result.clients_by_io_node.values()) == result.connects.succeeded + result.connects.reconnected
    assert set(result.clients_by_io_node) == {"io1", "io2"}
    assert result.totals.clients_max <= USERS
    assert len(live) >= 5
    assert (result.unanswered, result.disconnects_unasked, result.absent) == ({}, 0, 0)
    if scenario == "rpc":
        assert result.acks["echo"].count > 10 * USERS
    else:
        assert integrity.due > 100
        assert result.totals.deliveries >= integrity.due
        assert result.latency.count == result.totals.deliveries == sum(second.deliveries for second in result.seconds)
        assert 0 < result.latency.p50_ms <= result.latency.p99_ms <= result.latency.max_ms
        assert sum(line["deliveries_per_s"] for line in live) > 0


def test_fanout(runs: Callable[[str], Told]) -> None:
    """Two rooms of ten; the first member of each publishes."""
    result, _ = runs("fanout")
    assert 9 < result.totals.fan_out <= 10
    assert result.latency_by_transport.keys() == {"polling", "websocket"}
    assert result.acks["publish"].count == result.totals.emits
    assert result.acks["join"].count == result.connects.succeeded == USERS
    connects = result.connects
    assert connects.handshake.count == connects.total.count == USERS
    assert 0 < connects.upgrade.count < USERS
    assert connects.total.p50_ms >= connects.handshake.p50_ms
    (worker,) = result.generator.workers
    assert (worker.clients_max, worker.clock_corrected, worker.missing) == (USERS, False, False)
    assert worker.cpu_percent > 0
    assert worker.clock_error_ms > 0
    assert abs(worker.clock_offset_ms) <= worker.clock_error_ms + 1, "client and server share a clock here"


@pytest.mark.ci_only
def test_chat_and_rpc(runs: Callable[[str], Told]) -> None:
    chat, _ = runs("chat")
    rpc, _ = runs("rpc")
    assert {"join", "leave", "publish"} <= chat.acks.keys()
    assert chat.connects.succeeded == USERS
    assert rpc.acks.keys() == {"echo"}
    assert rpc.totals.deliveries == 0


@pytest.mark.ci_only
def test_churn(runs: Callable[[str], Told]) -> None:
    result, _ = runs("churn")
    assert result.connects.succeeded > USERS, "they come back as new clients; how often, is a matter of the machine"
    assert result.disconnects.keys() == {"io client disconnect"}
    assert result.notes == []


@pytest.mark.ci_only
def test_everybody_comes_back_after_a_storm(runs: Callable[[str], Told]) -> None:
    result, _ = runs("reconnect-storm")
    connects = result.connects
    assert result.disconnects == {"transport close": connects.reconnected}
    assert connects.reconnected >= USERS, "a slow machine has not all of them back by the next storm"
    assert connects.back.count == connects.reconnected
    assert connects.back.p50_ms > 400, "the client's delay is 0.5 to 1.5 s"
    assert not any("without a connection" in note for note in result.notes)


@pytest.mark.ci_only
def test_slow_consumers_harm_nobody(runs: Callable[[str], Told]) -> None:
    result, _ = runs("slow-consumers")
    assert result.integrity.excused > 0
    assert result.integrity.lost == 0


@pytest.mark.ci_only
def test_the_ramp_goes_up(runs: Callable[[str], Told]) -> None:
    result, _ = runs("ramp")
    knee = result.knee
    assert knee is not None
    assert [step.rate for step in knee.steps] == [20, 40]
    assert all(step.held for step in knee.steps), knee.steps
    assert (knee.rate, knee.reached) == (40, False)
    assert knee.deliveries_per_s == pytest.approx(400, rel=0.2)
    assert result.duration_s < 35, "it ends when the ramp does"


@pytest.mark.ci_only
def test_broadcast_with_two_workers(loaded_cluster: BackgroundStack, runs: Any, tmp_path: Path) -> None:
    """Everybody hears it, whichever process it is in. The master puts both halves together."""
    for scenario in TOGETHER:
        runs(scenario)  # they would hear it, too
    (port,) = free_ports(1)
    workers = ("--processes", "2", "--master-port", str(port), "--master-bind-port", str(port))
    arguments = ("--scenario", "broadcast", *COMMON, "--publishers", "2", *workers)
    result, live = LocustRun(tmp_path, loaded_cluster.stack.url, 5, *arguments).end()
    assert result.integrity.is_whole, result.integrity
    assert result.integrity.due > 500
    assert result.totals.fan_out > 0.9 * USERS
    assert result.totals.deliveries >= result.integrity.due
    assert [worker.clients_max for worker in result.generator.workers] == [USERS // 2] * 2
    assert max(line["clients"] for line in live) == USERS
    assert not any(worker.missing for worker in result.generator.workers)


@pytest.mark.ci_only
def test_a_worker_that_comes_late_takes_no_part(loaded_cluster: BackgroundStack, tmp_path: Path) -> None:
    """It has no plan: it does not know the rooms, and its users would have the numbers of other users."""
    (port,) = free_ports(1)
    master = ("--master", "--expect-workers", "1", "--master-bind-port", str(port))
    run = LocustRun(tmp_path, loaded_cluster.stack.url, None, "--scenario", "fanout", *COMMON, *master)
    words = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest/locustfile.py"), "--worker"]
    words += ["--master-port", str(port)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    workers: list[subprocess.Popen[Any]] = [subprocess.Popen(words, env=env, cwd=tmp_path)]
    try:
        run.reports(1)
        late = subprocess.Popen(words, env=env, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
        workers.append(late)
        assert late.stdout is not None
        next(line for line in late.stdout if "loadtest_without_a_plan" in line)
        run.reports(3, more=True)  # its own first report comes within a second
        run.interrupt()
        result, _ = run.end()
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert result.integrity.is_whole, result.integrity
    assert [worker.missing for worker in result.generator.workers] == [False]
    assert "1 workers came after the run had begun and took no part, so there were fewer clients." in result.notes


OWN = """
from locust import constant, task
from loadtest.scenarios import BrowserUser, install

install()
heard = []

class Reader(BrowserUser):
    wait_time = constant(0.1)

    def on_start(self):
        super().on_start()
        self.environment.events.delivery.add_listener(lambda **told: heard.append(told["count"]))

    @task
    def read(self):
        assert self.call("echo", {"since": 0}) == [{"since": 0}]
        assert self.call("nothing-answers-this", timeout_s=0.1) is None
"""


@pytest.mark.ci_only
def test_an_application_of_ones_own(loaded_cluster: BackgroundStack, tmp_path: Path) -> None:
    """A locustfile of one's own with a BrowserUser. An interrupted run has a result too."""
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    arguments = ("-u", "2", "--exit-code-on-error", "0")
    result, _ = LocustRun(tmp_path, loaded_cluster.stack.url, 2, *arguments, users=2, file=file).end()
    assert result.scenario == "Reader"
    assert result.acks["echo"].count > 0
    assert result.integrity.due == 0
    assert result.duration_s < 20
