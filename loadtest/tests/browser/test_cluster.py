"""Simulated browsers on the embedded cluster, over all three ways of transport, through nginx."""

import asyncio
import json
import sys

import pytest
from loadtest.tests.browser.clients import ROOT

from sio_stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.ci_only, pytest.mark.timeout(120)]

BROWSERS, MESSAGES = 30, 10


async def test_a_crowd_receives_everything_in_order() -> None:
    async with Stack(io_nodes=2, app_nodes=1, port=0, env={"LOADTEST": "1"}) as stack:
        command = [sys.executable, "-m", "loadtest.tests.browser.crowd", stack.url, str(BROWSERS), str(MESSAGES)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), 90)
        finally:
            if process.returncode is None:
                process.kill()
    assert process.returncode == 0
    told = json.loads(out)
    assert told["transports"] == {"websocket": 2 * BROWSERS // 3, "polling": BROWSERS // 3}
    assert told["nodes"] == 2
    for received in told["received"]:
        assert len(received) == BROWSERS * MESSAGES
        for publisher in range(BROWSERS):
            assert [sequence for number, sequence in received if number == publisher] == list(range(MESSAGES))
