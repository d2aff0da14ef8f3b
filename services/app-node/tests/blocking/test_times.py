"""Real processes: when one that blocks is named and ended, and those that only seem to block."""

import asyncio
import re
import signal
from typing import Any

import pytest

from app_node.blocking import EXIT_BLOCKED
from sio_cluster.protocol.messages import Ack
from sio_cluster.testing.valkey import start_valkey

from .processes import SETTINGS, Start, serves

# alone: a process without CPU for a while loses its lease
pytestmark = [pytest.mark.forked("app-node"), pytest.mark.slow, pytest.mark.alone]


async def test_one_that_loops_is_named_and_ends_and_another_takes_over(start: Start, io: Any) -> None:
    stage, io = io, await io.io_node()
    first = start()
    sids = [await io.connect() for _ in range(4)]
    await io.event(sids[0], "trouble", "loop", ack_id=1)
    told = await first.said("handler_blocks")
    second = start()
    assert (told["event_name"], told["sid"], told["level"]) == ("trouble", sids[0], "error")
    assert 200 <= told["lasted_ms"] < 600
    assert re.search(r'app\.py", line \d+, in trouble\n    while True', told["stack"])
    assert await first.ended(3) == EXIT_BLOCKED
    assert [line["event_name"] for line in first.lines("handler_blocks")] == ["trouble"]
    [last] = first.lines("blocked_process_ends")
    assert last["status"] == EXIT_BLOCKED
    await second.said("app_node_started")
    for number, sid in enumerate(sids):
        await serves(io, sid, 10 + number, SETTINGS["lease_ms"] / 1000 + 1)
    await io.settle()
    assert b'31["spared"]' in [c.packet for c in io.commands if isinstance(c, Ack)]
    await stage.stop()


async def test_one_that_blocks_for_a_moment_goes_on(start: Start, io: Any) -> None:
    stage, io = io, await io.io_node()
    first = start()
    sid = await io.connect()
    await io.event(sid, "trouble", "sleep", ack_id=1)
    ended = await first.said("handler_block_ended")
    assert ended["event_name"] == "trouble"
    assert 400 <= ended["lasted_ms"] < 1000
    await io.wait(1, Ack)
    await serves(io, sid, 2)
    assert first.process.poll() is None
    await stage.stop()


@pytest.mark.parametrize("pauses", [pytest.param(1, marks=pytest.mark.ci_only), 3])
async def test_one_that_was_paused_does_not_end(start: Start, io: Any, pauses: int) -> None:
    """The process stood still as a whole, for longer than its leases last."""
    stage, io = io, await io.io_node()
    first = start()
    sid = await io.connect()
    for number in range(pauses):
        first.process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2.5)
        first.process.send_signal(signal.SIGCONT)
        await first.said("lane_lost")
        await serves(io, sid, number + 1)  # its event loop has turned before it is paused again
    assert first.process.poll() is None
    assert first.lines("handler_blocks") == []
    await stage.stop()


async def test_one_whose_redis_is_away_does_not_end(start: Start) -> None:
    """Its event loop turns all the time."""
    with start_valkey() as server:
        node = start(REDIS_URL=server.url)
        await node.said("app_node_started")
        server.pause()
        await node.said("lane_lost")
        await asyncio.sleep(2 * SETTINGS["lease_ms"] / 1000)
        server.resume()
        await node.said("lanes_acquired", 2)
        assert node.process.poll() is None
        assert node.lines("handler_blocks") == []
