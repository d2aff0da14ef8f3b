"""Real processes whose handler never gives the event loop back, or wants to end them."""

import asyncio
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from app_node.blocking import EXIT_BLOCKED
from sio_cluster.protocol.messages import Accept

from .processes import SETTINGS, Start, serves

pytestmark = pytest.mark.slow


async def test_one_whose_connect_loops_is_named(start: Start, io: Any) -> None:
    stage, io = io, await io.io_node()
    first = start()
    await first.said("app_node_started")
    sid = await io.ask("/stuck")
    told = await first.said("handler_blocks")
    assert (told["event_name"], told["sid"]) == ("connect", sid)
    assert await first.ended(3) == EXIT_BLOCKED
    await stage.stop()


async def test_one_that_holds_the_gil_is_ended_by_a_timer(start: Start, io: Any) -> None:
    """No Python thread can run: the stack comes from the operating system's signal."""
    stage, io = io, await io.io_node()
    first = start()
    await first.said("app_node_started")
    sid = await io.connect()
    await io.event(sid, "trouble", "gil", ack_id=1)
    assert await first.ended(30) == -signal.SIGVTALRM
    assert re.search(r'app\.py", line \d+ in trouble', first.log.read_text())
    await start().said("app_node_started")
    await serves(io, sid, 2)
    await stage.stop()


async def test_a_program_that_is_not_ours_is_told_and_goes_on(start: Start, io: Any, tmp_path: Path) -> None:
    """It has called `start` itself. What else runs in it, and who starts it anew, nobody here knows."""
    stage, io = io, await io.io_node()
    program = start(sys.executable, tmp_path / "app.py")
    sid = await io.ask()
    await io.wait(1, Accept, 20)
    await io.event(sid, "trouble", "loop")
    text = ""
    async with asyncio.timeout(10):
        while "handler_blocks" not in text:
            await asyncio.sleep(0.02)
            text = program.log.read_text()
    await asyncio.sleep(1.5 * SETTINGS["lease_ms"] / 1000)
    assert program.process.poll() is None
    await stage.stop()


@pytest.mark.parametrize("how", ["exit", "exit in the background"])
async def test_an_exit_in_another_task_does_not_end_it(start: Start, io: Any, how: str) -> None:
    stage, io = io, await io.io_node()
    first = start()
    await first.said("app_node_started")
    sid = await io.connect()
    await io.event(sid, "trouble", how)
    ignored = await first.said("exit_ignored")
    assert ignored["status"] == 3
    await serves(io, sid, 1)
    await io.settle()
    assert first.process.poll() is None
    first.process.terminate()
    assert await first.ended(10) == 0
    await stage.stop()
