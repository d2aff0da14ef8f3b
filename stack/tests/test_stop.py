"""The signals that end a command."""

import asyncio
import os
import signal

import pytest

from sio_stack import stop as stop_module
from sio_stack.stop import Stop


async def test_signals_ask_first_and_kill_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_module, "LATER_S", 0.0)
    stop = Stop()
    told: list[str] = []
    stop.on_asked = lambda: told.append("asked")
    stop.on_at_once = lambda: told.append("at once")
    stop.listen()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(stop.asked.wait(), 5)
    assert not stop.at_once.is_set()
    os.kill(os.getpid(), signal.SIGINT)
    await asyncio.wait_for(stop.at_once.wait(), 5)
    assert told == ["asked", "at once"]
