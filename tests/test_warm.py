"""A forked process is the one that an ordinary start would have made."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from tests.conftest import ROOT
from tests.warm import CAN_FORK, forked

from sio_stack.child import Child

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CAN_FORK, reason="every start is an ordinary one here"),
]

KIND = "tests.warm_look"
LOOK = (sys.executable, "-m", KIND)


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in all tests here, so that one process is forked in all. The program is found in all folders."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((os.environ["PYTHONPATH"], str(ROOT))))


@pytest.fixture
def waiting() -> Iterator["subprocess.Popen[str]"]:
    with forked(KIND), subprocess.Popen((*LOOK, "wait"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert _is_forked(process.pid)
        yield process
        process.kill()


def _is_forked(pid: int) -> bool:
    return any(word.endswith("warm_process.py") for word in psutil.Process(pid).cmdline())


def _seen(env: dict[str, str], **options: Any) -> tuple[dict[str, Any], str, int]:
    words = (*LOOK, "a word", "3")
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False, env=os.environ | env, **options)
    first, rest = done.stdout.split("\n", 1)
    return json.loads(first), rest, done.returncode


@pytest.mark.parametrize(
    "options",
    [
        {"env": {"ONE": "more=1"}, "stdin": subprocess.DEVNULL, "stderr": subprocess.STDOUT},
        {"env": {}, "cwd": "/"},
        {"env": {}, "start_new_session": True, "stderr": subprocess.PIPE},
        {"env": {}, "process_group": 0},
        {"env": {"PYTHONUNBUFFERED": "1"}},
    ],
    ids=["env", "folder", "session", "group", "python"],
)
def test_it_sees_what_an_ordinary_one_sees(options: dict[str, Any]) -> None:
    ordinary, *end = _seen(**options)
    with forked(KIND):
        found, *ends = _seen(**options)
    for name, value in ordinary.items():
        assert found[name] == value, name
    assert ends == end == ["bye\n", 3]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_ends_it(waiting: "subprocess.Popen[str]", number: signal.Signals) -> None:
    waiting.send_signal(number)
    assert waiting.wait(20) == -number
    assert not psutil.pid_exists(waiting.pid)


def test_it_stands_still_and_goes_on(waiting: "subprocess.Popen[str]") -> None:
    waiting.send_signal(signal.SIGSTOP)
    _, status = os.waitpid(waiting.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    waiting.send_signal(signal.SIGCONT)
    assert waiting.poll() is None


async def test_asyncio_gets_its_output_and_its_end() -> None:
    lines: list[str] = []
    child = Child(lines.append)
    with forked(KIND):
        await child.start((*LOOK, "3"), os.environ, ROOT)
    assert await child.wait() == 3
    await child.read_all(20)
    await child.close()
    assert json.loads(lines[0])["leads a session"]
    assert lines[1:] == ["bye"]


PARENT = """
import os, sys, subprocess, asyncio
from tests.warm import forked
from sio_stack.child import Child
async def main():
    child = Child(lambda line: None)
    with forked("tests.warm_look"):
        await child.start((sys.executable, "-m", "tests.warm_look", "wait"), os.environ, os.getcwd())
    print(child.pid, flush=True)
    await child.wait()
asyncio.run(main())
"""


def test_it_dies_with_its_parent() -> None:
    with subprocess.Popen((sys.executable, "-c", PARENT), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        found = psutil.Process(int(parent.stdout.readline()))
        models = [child for child in psutil.Process(parent.pid).children() if child.pid != found.pid]
        assert _is_forked(found.pid)
        parent.kill()
    psutil.wait_procs([found, *models], timeout=20)
    assert len(models) == 1
    assert not any(process.is_running() for process in (found, *models))


def test_afterwards_starts_are_ordinary_ones() -> None:
    with forked(KIND):
        pass
    with subprocess.Popen((*LOOK, "wait"), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert not _is_forked(process.pid)
        process.kill()
