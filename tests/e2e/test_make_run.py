"""`make run` as its user sees it: one clear line for what cannot be started, and nothing left behind after Ctrl-C."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
from tests.conftest import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

APP = str(ROOT / "tests/e2e/app.py") + ":sio"


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(**env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sio_stack"],
        env={**os.environ, "IO_NODES": "1", "APP": APP, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def refusal(**env: str) -> str:
    """Starts what must not start, and returns the one line that it prints to standard error."""
    supervisor = start(**env)
    _, errors = supervisor.communicate(timeout=30)
    assert supervisor.returncode == 2, errors
    lines = errors.strip().splitlines()
    assert len(lines) == 1, errors
    return lines[0]


class Running:
    """A supervisor whose output is read all the time, so that it never waits for a full pipe."""

    def __init__(self, supervisor: subprocess.Popen[str]) -> None:
        self.supervisor = supervisor
        self.lines: queue.Queue[str] = queue.Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, text: str, within_s: float = 30) -> None:
        while not self.seen or text not in self.seen[-1]:
            try:
                self.seen.append(self.lines.get(timeout=within_s))
            except queue.Empty:
                pytest.fail(f"no {text!r} in\n" + "".join(self.seen[-50:]))

    def family(self) -> list[psutil.Process]:
        family: list[psutil.Process] = psutil.Process(self.supervisor.pid).children(recursive=True)
        return family

    def _read(self) -> None:
        assert self.supervisor.stdout is not None
        for line in self.supervisor.stdout:
            self.lines.put(line)


@contextmanager
def running(**env: str) -> Iterator[Running]:
    supervisor = start(**env)
    run = Running(supervisor)
    try:
        run.until("is ready")
        yield run
    finally:
        supervisor.kill()
        supervisor.wait()


def test_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert port in refusal(PORT=port)


in_ci = pytest.mark.ci_only
"""Of refusals: each takes a whole supervisor, and stack/tests/test_settings.py has them all."""


@in_ci
@pytest.mark.parametrize(("app", "named"), [("nowhere.py:sio", "nowhere.py"), ("no_such_module:sio", "no_such_module")])
def test_missing_app(app: str, named: str) -> None:
    assert named in refusal(PORT="0", APP=app)


@in_ci
@pytest.mark.parametrize("name", ["sio", "value"])
def test_app_without_the_name(tmp_path: Path, name: str) -> None:
    app = tmp_path / "app.py"
    app.write_text("value = 1\n")
    assert name in refusal(PORT="0", APP=f"{app}:{name}")


@in_ci
@pytest.mark.parametrize(
    ("text", "line", "error"),
    [
        ("import app_node\n\nsio = app_node.get_client()\n1 / 0\n", "4", "ZeroDivisionError"),
        ("def broken(:\n", "1", "SyntaxError"),
    ],
)
def test_broken_app(tmp_path: Path, text: str, line: str, error: str) -> None:
    app = tmp_path / "app.py"
    app.write_text(text)
    said = refusal(PORT="0", APP=f"{app}:sio")
    assert f"{app}:{line}" in said
    assert error in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IO_NODES", "x"),
        pytest.param("IO_NODES", "0", marks=in_ci),
        pytest.param("PORT", "99999", marks=in_ci),
        ("PING_INTERVAL_MS", "soon"),
    ],
)
def test_bad_settings(name: str, value: str) -> None:
    assert name in refusal(**({"PORT": "0"} | {name: value}))


@pytest.mark.parametrize(
    "number", [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.ci_only) for n in (signal.SIGTERM, signal.SIGHUP))]
)
def test_a_signal_stops_all_of_it(free_port: int, number: signal.Signals) -> None:
    with running(PORT=str(free_port), IO_NODES="2") as run:
        assert httpx.get(f"http://127.0.0.1:{free_port}/readyz", trust_env=False).status_code == 200
        family = run.family()
        assert len(family) >= 5
        run.supervisor.send_signal(number)
        assert run.supervisor.wait(timeout=20) == 0
        _, alive = psutil.wait_procs(family, timeout=2)
        assert alive == []
    with socket.create_server(("127.0.0.1", free_port)):
        pass


def test_a_killed_supervisor_takes_its_children_along(free_port: int) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux can tell children of their parent's death")
    with running(PORT=str(free_port)) as run:
        family = run.family()
        run.supervisor.kill()
        _, alive = psutil.wait_procs(family, timeout=10)
        assert alive == []


@pytest.mark.ci_only  # stack/tests/test_stack.py has each part
def test_a_part_that_dies_is_restarted_and_said_so(free_port: int) -> None:
    with running(PORT=str(free_port)) as run:
        for part in ("io_node.cli", "app_node.cli", "nginx", "valkey"):
            victim = next(process for process in run.family() if part in " ".join(process.cmdline()))
            victim.kill()
            run.until("starting it again")
            run.until("serves again")
        assert serves(free_port), "".join(run.seen[-30:])


def serves(port: int, within_s: float = 20) -> bool:
    """Whether all nodes are ready within that time. After an outage of Redis they prove it again first."""
    ends_at = time.monotonic() + within_s
    with httpx.Client(trust_env=False, timeout=5) as http:
        while time.monotonic() < ends_at:
            try:
                if http.get(f"http://127.0.0.1:{port}/readyz").status_code == 200:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
    return False
