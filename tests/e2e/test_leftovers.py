"""10,000 clients come and go while nodes of both kinds are killed. In the end every key of Redis that belonged to one
of them, or to a node that has died, is gone."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from tests.chaos import records
from tests.chaos.leftovers import left_at_last
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV

from sio_cluster.testing.client import Client, WSError
from sio_stack import Stack

pytestmark = [pytest.mark.forked, pytest.mark.e2e, pytest.mark.ci_only, pytest.mark.timeout(300)]

APP = str(ROOT / "tests/chaos/app.py") + ":sio"
CONNECTS, AT_A_TIME = 10_000, 250
KILL_EVERY = 10
"""After so many groups a node is killed, of each kind in turn."""
WINDOW_MS = 3_000
FORGOTTEN_S = 45.0
"""The window, NODE_TIMEOUT_MS, and what a busy machine takes."""


class Guest:
    """One connect. Some can claim their session back, and never do; some say goodbye, and others just vanish."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_in = asyncio.Event()
        self.connection = Client(self._took, self.is_in.set)

    async def come(self, url: str) -> None:
        """Returns when it was let in, or its connection broke."""
        with suppress(OSError, WSError, TimeoutError):
            await self.connection.connect(url)
            async with asyncio.timeout(20):
                await self.is_in.wait()

    def go(self) -> None:
        if self.number % 4 < 2:
            self.connection.send(b"41")
        self.connection.disconnect()

    def _took(self, packet: bytes) -> None:
        if packet.startswith(b"0"):
            recovers = b',"recovery":true' if self.number % 2 else b""
            self.connection.send(b'40{"client":%d%s}' % (self.number, recovers))
        elif packet.startswith(b"40"):
            self.is_in.set()


async def test_ten_thousand_connects_with_kills(tmp_path: Path) -> None:
    env = ENV | {"RECOVERY_WINDOW_MS": str(WINDOW_MS), "CHAOS_RECORDS": str(tmp_path), "CHAOS_NEWS_MS": "0"}
    async with Stack(io_nodes=2, app_nodes=2, app=APP, port=0, env=env) as stack:
        kills = 0
        for group, first in enumerate(range(0, CONNECTS, AT_A_TIME), 1):
            guests = [Guest(number) for number in range(first, first + AT_A_TIME)]
            coming = [asyncio.create_task(guest.come(stack.url)) for guest in guests]
            if group % KILL_EVERY == 0:
                nodes = stack.app_nodes if kills % 2 else stack.io_nodes
                kills += 1
                os.kill(nodes[kills // 2 % 2].pid, signal.SIGKILL)
            await asyncio.gather(*coming)
            for guest in guests:
                guest.go()
        came = len({connect.client for connect in records.read(tmp_path).connects})
        assert came > 0.9 * CONNECTS, f"only {came} came in"
        left = await left_at_last(stack.redis_url, FORGOTTEN_S)
        assert left == [], f"{len(left)} keys are left, as {left[:5]}"
