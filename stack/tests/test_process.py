"""One part: ready or not, restarted, stopped with all that it started, and its output complete."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from sio_stack import process as process_module
from sio_stack.process import Command, Process, describe
from sio_stack.settings import StackError

pytestmark = pytest.mark.slow


async def _ready() -> bool:
    return True


async def _never() -> bool:
    return False


class Heard:
    """What a process printed, and what was said about it. A test can wait for either."""

    def __init__(self) -> None:
        self.notices: list[str] = []
        self._texts: asyncio.Queue[str] = asyncio.Queue()

    def line(self, _name: str, text: str) -> None:
        self._texts.put_nowait(text)

    def notice(self, name: str, text: str) -> None:
        self.notices.append(text)
        self.line(name, text)

    async def until(self, found: Callable[[str], object]) -> str:
        async with asyncio.timeout(10):
            while not found(text := await self._texts.get()):
                pass
        return text


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def python(heard):
    def make(code: str, is_ready=_ready, **options) -> Process:
        command = Command("part", (sys.executable, "-uc", code), dict(os.environ), Path.cwd(), is_ready, **options)
        return Process(command, heard.line, heard.notice)

    return make


async def _gone(pid: int) -> None:
    """Returns when no process has this id."""
    with contextlib.suppress(psutil.NoSuchProcess):
        await asyncio.to_thread(psutil.Process(pid).wait, 10)


async def test_one_that_ends_at_its_start_is_told_with_its_last_line(python):
    part = python("print('the reason'); raise SystemExit(3)", _never)
    with pytest.raises(StackError, match=r"part ended \(exit status 3\) .* it said: the reason"):
        await part.start()


async def test_one_that_is_not_ready_in_time_is_stopped(python):
    part = python("import time; time.sleep(60)", _never)
    with pytest.raises(StackError, match=r"part was not ready within 0.3 s"):
        await part.start(timeout_s=0.3)
    assert part.pid == 0


async def test_restarts_take_longer_and_longer(python, heard, monkeypatch):
    monkeypatch.setattr(process_module, "FIRST_DELAY_S", 0.01)
    monkeypatch.setattr(process_module, "LONGEST_DELAY_S", 0.02)
    part = python("import time; time.sleep(0.1)")
    await part.start()
    await heard.until(lambda text: "again in" in text and part.restarts >= 3)
    await part.stop()
    delays = [text.rsplit(" ", 2)[1] for text in heard.notices if "again in" in text]
    assert delays[:3] == ["0.01", "0.02", "0.02"]


async def test_one_that_was_dismissed_is_not_started_again(python, heard):
    part = python("import time; time.sleep(60)")
    await part.start()
    dismissed = part.pid
    part.dismiss(signal.SIGTERM)
    await _gone(dismissed)
    await part.stop()
    assert (part.restarts, heard.notices) == (0, [])


async def test_stop_kills_what_does_not_listen(python, heard):
    part = python("import signal, time; signal.signal(15, signal.SIG_IGN); print('on'); time.sleep(60)", grace_s=0.3)
    await part.start()
    await heard.until("on".__eq__)
    async with asyncio.timeout(20):
        await part.stop()
    assert part.pid == 0
    assert heard.notices == ["did not stop within 0.3 s: killed"]


async def test_stop_ends_a_stopped_process(python, heard):
    part = python("import time; time.sleep(60)", grace_s=5)
    await part.start()
    os.kill(part.pid, signal.SIGSTOP)
    await part.stop()
    assert heard.notices == []


async def test_what_it_started_dies_with_it(python, heard):
    part = python("import subprocess, time; p = subprocess.Popen(['sleep', '60']); print(p.pid); time.sleep(60)")
    await part.start()
    child = int(await heard.until(str.isdigit))
    await part.stop(signal.SIGKILL)
    await _gone(child)


async def test_lines_of_any_length_and_encoding_arrive(python, heard):
    part = python("import os; os.write(1, b'a' * 40000 + b'\\n\\xff\\r\\nend')")
    await part.start()
    await heard.until("end".__eq__)
    await part.stop()
    assert "".join(part.lines).startswith("a" * 40000 + "\ufffdend")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux' own")
async def test_a_killed_supervisor_takes_its_children_along():
    script = """
import asyncio, os, sys
from pathlib import Path
from sio_stack.process import Command, Process
async def ready(): return True
async def main():
    part = Process(Command("part", ("sleep", "60"), dict(os.environ), Path.cwd(), ready), print, print)
    await part.start()
    print(part.pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    supervisor = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert supervisor.stdout is not None
    child = int(await supervisor.stdout.readline())
    supervisor.kill()
    await supervisor.wait()
    await _gone(child)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "ended (exit status 0)"),
        (2, "ended (exit status 2)"),
        (-9, "was killed (SIGKILL)"),
        (-99, "was killed (signal 99)"),
    ],
)
def test_how_it_ended_in_words(code, words):
    assert describe(code) == words
