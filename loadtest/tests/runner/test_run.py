"""One run with a stand-in for locust: its files, its status, and its end on Ctrl-C."""

import asyncio
import io
import os
import socket
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import psutil
import pytest
from loadtest.errors import CannotRun
from loadtest.reporting import outcome
from loadtest.runner import locust_process, run
from loadtest.runner.cluster import Target
from loadtest.runner.options import Options
from loadtest.runner.screen import Progress, Screen
from rich.console import Console

from sio_stack.settings import free_ports
from sio_stack.stop import Stop

pytestmark = [pytest.mark.slow]

STANDIN = str(Path(__file__).with_name("standin_locust.py"))


class Trial:
    """A run with everything around it replaced: `way` is how the stand-in behaves."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stop = Stop()
        self.printed = io.StringIO()
        self.screen = Screen(Console(file=self.printed, width=100, soft_wrap=True))
        self.limits = folder / "thresholds.toml"
        self.limits.write_text("[limits]\nmax_lost = 0\n")
        self.options = Options(thresholds=self.limits, report_dir=folder / "report", run_time_s=5)
        self.way = "well"
        self.live = asyncio.Event()
        monkeypatch.setattr(run, "target", self._target)
        monkeypatch.setattr(locust_process, "command", lambda *_: [sys.executable, "-u", STANDIN, self.way])
        monkeypatch.setattr(Progress, "show", lambda *_: self.live.set())

    async def headless(self) -> int:
        return await asyncio.wait_for(run.headless(self.options, self.screen, self.stop), 30)

    @property
    def report(self) -> Path:
        (folder,) = self.options.report_dir.iterdir()
        return folder

    @asynccontextmanager
    async def _target(self, *_):
        yield Target("http://localhost:1", embedded=True, pids=lambda: {"me": os.getpid()})


@pytest.fixture
def trial(tmp_path, monkeypatch):
    return Trial(tmp_path, monkeypatch)


async def test_a_run_leaves_its_files_and_status_0(trial):
    assert await trial.headless() == 0
    assert {path.name for path in trial.report.iterdir()} == {"locust.log", "result.json", "report.html"}
    done = outcome.decode((trial.report / "result.json").read_bytes())
    assert done.result.totals.deliveries > 0
    assert not done.interrupted
    assert "All 1 limits kept" in trial.printed.getvalue()
    assert "/WARNING/locust: a warning" in trial.printed.getvalue()
    assert "{broken" in (trial.report / "locust.log").read_text()


async def test_a_broken_limit_is_status_1_and_named(trial):
    trial.limits.write_text("[limits]\nmin_deliveries_per_s = 1e9\n")
    assert await trial.headless() == 1
    assert "Broken: deliveries per s: 19,322, allowed at least 1,000,000,000" in trial.printed.getvalue()


async def test_wrong_limits_stop_it_before_anything_starts(trial):
    trial.limits.write_text("[limits]\nmax_luck = 0\n")
    with pytest.raises(CannotRun, match="max_luck"):
        await trial.headless()
    assert not trial.options.report_dir.exists()


async def test_a_port_for_metrics_that_is_taken_stops_it_before_anything_starts(trial):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        trial.options = msgspec.structs.replace(trial.options, metrics_port=port)
        with pytest.raises(CannotRun, match=f"port {port} is taken"):
            await trial.headless()
    assert not trial.options.report_dir.exists()


async def test_it_says_where_its_metrics_are(trial):
    (port,) = free_ports(1)
    trial.options = msgspec.structs.replace(trial.options, metrics_port=port)
    assert await trial.headless() == 0
    assert f"http://127.0.0.1:{port}/metrics" in trial.printed.getvalue()


@pytest.mark.parametrize(("way", "words"), [("broken", "it said: no such scenario"), ("garbled", "is not the result")])
async def test_a_run_without_a_result_is_none(trial, way, words):
    trial.way = way
    with pytest.raises(CannotRun, match=words):
        await trial.headless()


async def test_an_interrupted_run_reports_what_there_is(trial):
    trial.way = "patient"
    running = asyncio.create_task(trial.headless())
    await trial.live.wait()
    trial.stop.asked.set()
    assert await running == 0
    assert outcome.decode((trial.report / "result.json").read_bytes()).interrupted


async def test_a_second_interrupt_kills(trial):
    trial.way = "deaf"
    running = asyncio.create_task(trial.headless())
    await trial.live.wait()
    alive = [process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE]
    (child,) = [process for process in alive if STANDIN in process.cmdline()]
    trial.stop.asked.set()
    trial.stop.at_once.set()
    with pytest.raises(CannotRun, match="without a result"):
        await running
    assert not child.is_running()


async def test_one_that_does_not_end_is_killed(trial, monkeypatch):
    monkeypatch.setattr(run, "START_S", -5.0)
    monkeypatch.setattr(locust_process, "GRACE_S", 1.0)
    trial.way = "deaf"
    with pytest.raises(CannotRun, match="without a result"):
        await trial.headless()
    assert "did not end in time" in trial.printed.getvalue()


async def test_a_worker_that_stays_behind_is_killed(trial, monkeypatch):
    monkeypatch.setattr(locust_process, "WORKERS_END_S", 0.2)
    trial.way = "orphan"
    began = time.monotonic()
    assert await trial.headless() == 0
    assert time.monotonic() - began < 20


def test_a_former_run_can_be_shown_again(trial, tmp_path):
    measured = tmp_path / "measured.json"
    measured.write_bytes((Path(__file__).parents[1] / "accounting/sample_result.json").read_bytes())
    assert run.show_again(measured, trial.limits, trial.screen) == 0
    assert "<svg" in (tmp_path / "report.html").read_text()
    with pytest.raises(CannotRun, match="is not the result of a run"):
        run.show_again(trial.limits, trial.limits, trial.screen)
    with pytest.raises(CannotRun, match="No such file"):
        run.show_again(tmp_path / "none.json", trial.limits, trial.screen)


def test_reports_of_one_second_have_folders_of_their_own(tmp_path):
    assert run.new_report(tmp_path) != run.new_report(tmp_path)


def test_a_log_is_bounded_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "MOST_LOG_BYTES", 10)
    log = run.Log(tmp_path / "log")
    for text in ("first", "second", "third"):
        log.write(text)
    log.close()
    assert (tmp_path / "log").read_text() == "first\n(2 more lines did not fit into 10 bytes)\n"
