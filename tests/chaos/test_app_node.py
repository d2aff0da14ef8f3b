"""Faults of app-nodes: nobody disconnects, every event is handled, in order, by one of them at a time."""

import asyncio
import signal

import pytest
from tests.chaos.field import LEASE_S, field

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]

BUSY_S = 1.0
"""What a machine with two cores that does all of this at once may add to a gap."""


async def test_nothing_happens(seed: int) -> None:
    """The load alone: the figures that the others are compared with, and counters that balance."""
    async with field("no fault", seed, app_nodes=2) as it:
        await it.crowd.progress(60, 60)
        verdict = await it.end(gap_s=2)
        assert verdict.clients >= 200
        assert verdict.events / verdict.seconds >= 1500


async def test_clean_stop(seed: int) -> None:
    async with field("app-node stopped", seed) as it:
        await it.wait_a_moment()
        started = asyncio.create_task(it.stack.start_app_node())
        await started
        await it.wait_a_moment()
        await it.stack.stop_app_node(0, signal.SIGTERM)
        await it.crowd.progress(20, 30)
        await it.end(gap_s=1 + BUSY_S)


async def test_kill(seed: int) -> None:
    async with field("app-node killed", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.kill(it.rng.choice(it.stack.app_nodes))
        await it.crowd.progress(30, 40)
        await it.end(redelivered=True, gap_s=LEASE_S + 1 + BUSY_S)
