"""Noticing that the event loop stands still: what counts, and what does not."""

import asyncio
import re
import subprocess
import sys
import threading
import time
from types import FrameType

import pytest

from sio_cluster.node.process.watchdog import Stall, Watchdog


def look(stall: Stall, *, after_s: float, cpu_s: float, beats: int) -> tuple[float, bool]:
    stall.look(beats, stall._now_s + after_s, stall._cpu_s + cpu_s)
    return round(stall.lasted_s, 3), stall.turns


def test_a_stall_lasts_from_the_last_beat_seen_to_the_next() -> None:
    stall = Stall(0.25)
    assert look(stall, after_s=100, cpu_s=1, beats=1) == (0.0, True)
    assert look(stall, after_s=0.25, cpu_s=0, beats=2) == (0.0, True)
    assert look(stall, after_s=0.25, cpu_s=0.25, beats=2) == (0.25, False)
    assert look(stall, after_s=0.3, cpu_s=0, beats=2) == (0.55, False)
    assert look(stall, after_s=0.25, cpu_s=0, beats=3) == (0.8, True)
    assert look(stall, after_s=0.25, cpu_s=0, beats=4) == (0.8, True)
    assert look(stall, after_s=0.2, cpu_s=0, beats=4) == (0.2, False)


def test_a_pause_of_the_process_is_no_stall() -> None:
    """Nobody looked for 60 s, and no CPU time was used."""
    stall = Stall(0.25)
    look(stall, after_s=0.25, cpu_s=0, beats=1)
    assert look(stall, after_s=60, cpu_s=0.01, beats=1) == (0.25, False)
    assert look(stall, after_s=0.25, cpu_s=0, beats=2) == (0.5, True)


def test_what_holds_the_gil_is_a_stall() -> None:
    """Nobody could look for 3 s, and the CPU was used meanwhile."""
    stall = Stall(0.25)
    look(stall, after_s=0.25, cpu_s=0, beats=1)
    assert look(stall, after_s=3.1, cpu_s=3.0, beats=1) == (3.0, False)


async def test_it_sees_what_blocks() -> None:
    seen: list[str] = []
    lasted: list[float] = []
    turned = threading.Event()
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    def stalled(seconds: float, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_name != "block_the_loop":
            frame = frame.f_back
        if frame is not None:
            seen.append(frame.f_code.co_name)

    def turn(seconds: float) -> None:
        lasted.append(seconds)
        turned.set()

    def block_the_loop() -> None:
        deadline = time.monotonic() + 10
        while len(seen) < 3 and time.monotonic() < deadline:
            pass

    watchdog = Watchdog(step_s=0.01, on_beat=beat, on_stall=stalled, on_turn=turn)
    running = asyncio.create_task(watchdog.run())
    await asyncio.sleep(0.05)
    assert beats
    lasted.clear()
    turned.clear()
    block_the_loop()
    assert len(seen) >= 3
    assert await asyncio.to_thread(turned.wait, 10)
    assert lasted[0] > 0
    running.cancel()
    await asyncio.wait([running])
    for thread in threading.enumerate():
        if thread.name == "watchdog":
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


PROGRAM = """
import re, signal, sys, time
from sio_cluster.node.process.watchdog import CpuLimit

limit = CpuLimit()
limit.renew(0.3)
{body}
print("survived")
limit.close()
"""


def run(body: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(body=body)], capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.slow
def test_the_cpu_limit_ends_what_holds_the_gil() -> None:
    done = run("def parse(): re.match('(a+)+b', 'a' * 60)\nparse()")
    assert done.returncode == -26  # SIGVTALRM
    assert re.search(r'File "<string>", line \d+ in parse', done.stderr)
    assert "survived" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [
        "time.sleep(0.6)",
        "for _ in range(8):\n    limit.renew(0.3)\n    end = time.process_time() + 0.1\n"
        "    while time.process_time() < end: pass",
        "limit.close()\nend = time.process_time() + 0.6\nwhile time.process_time() < end: pass",
    ],
)
def test_the_cpu_limit_lets_live(body: str) -> None:
    done = run(body)
    assert (done.returncode, done.stdout, done.stderr) == (0, "survived\n", "")


@pytest.mark.slow
def test_the_cpu_limit_leaves_a_program_its_own_timer() -> None:
    program = """
import signal, time
from sio_cluster.node.process.watchdog import CpuLimit
signal.signal(signal.SIGVTALRM, lambda *_: print("mine"))
limit = CpuLimit()
limit.renew(0.05)
end = time.process_time() + 0.3
while time.process_time() < end: pass
limit.close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "")
