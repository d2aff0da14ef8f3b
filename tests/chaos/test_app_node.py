"""Faults of app-nodes: nobody disconnects, every event is handled, in order, by one of them at a time."""

import asyncio
import signal

import pytest
from tests.chaos.cluster import LEASE_S
from tests.chaos.crowd import Crowd
from tests.chaos.field import field

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]

PLANNED_GAP_S = 1.0
CRASH_GAP_S = LEASE_S + 1


@pytest.mark.alone
async def test_nothing_happens(seed: int) -> None:
    """The load alone: the figures that the others are compared with, and counters that balance."""
    async with field("no fault", seed, app_nodes=2) as it:
        await it.crowd.progress(60, 60)
        verdict = await it.end(gap_s=1, balanced="all")
        assert verdict.clients >= 200
        assert verdict.events / verdict.seconds >= 0.7 * it.crowd.rate


async def test_clean_stop(seed: int) -> None:
    """The other app-node takes the lanes over."""
    async with field("app-node stopped", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        await it.stack.stop_app_node(it.rng.randrange(2), signal.SIGTERM)
        await it.crowd.progress(20, 30)
        await it.end(gap_s=PLANNED_GAP_S)


async def test_kill(seed: int) -> None:
    async with field("app-node killed", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.kill(it.rng.choice(it.stack.app_nodes))
        await it.calm(20)
        await it.crowd.progress(20, 40)
        await it.end(redelivered=True, gap_s=CRASH_GAP_S)


async def test_the_only_one_is_killed(seed: int) -> None:
    """Clients wait for the lease to run out and for a new process to start."""
    async with field("only app-node killed", seed) as it:
        await it.wait_a_moment()
        it.kill(it.stack.app_nodes[0])
        await it.calm(20)
        await it.crowd.progress(20, 40)
        await it.end(redelivered=True, gap_s=CRASH_GAP_S + 3)


async def test_pause_for_three_leases(seed: int) -> None:
    """The other app-node takes over. The paused one notices before it does anything."""
    async with field("app-node paused", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        victim = it.rng.choice(it.stack.app_nodes)
        it.pause(victim)
        await asyncio.sleep(3 * LEASE_S)
        it.resume(victim)
        await it.calm(20)
        await it.crowd.progress(20, 40)
        await it.end(redelivered=True, gap_s=CRASH_GAP_S)
        assert it.logged("lane_lost", victim.name)


async def test_crash_loop(seed: int) -> None:
    """An app-node is killed three times, each time as soon as it serves."""
    async with field("app-node crash loop", seed, app_nodes=2) as it:
        victim = it.rng.choice(it.stack.app_nodes)
        for _ in range(3):
            await it.wait_a_moment()
            old = victim.pid
            it.kill(victim)
            await it.until_serves_anew(victim, old, 15)
        await it.crowd.progress(20, 40)
        await it.end(redelivered=True, gap_s=CRASH_GAP_S)


async def test_handlers_that_fail_or_hang(seed: int) -> None:
    """A failing handler harms only its own event. A handler that hangs delays nobody, not even its client's other
    events."""
    async with field("handlers fail and hang", seed, app_nodes=2) as it:
        for _ in range(5):
            await it.wait_a_moment()
            for member in it.rng.sample(it.crowd.members, 5):
                member.send('["fail"]')
                member.send('["hang",8]')
        await it.end(gap_s=PLANNED_GAP_S, balanced="all")
        assert len(it.logged("handler_failed")) == 25


async def test_a_handler_that_blocks_the_loop(seed: int) -> None:
    """A handler blocks the event loop for three leases. The app-node loses its lanes, ends, and is started anew."""
    async with field("handler blocks the loop", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.in_trouble(*it.stack.app_nodes)  # whichever holds the lane
        it.rng.choice(it.crowd.members).send(f'["block",{3 * LEASE_S}]')
        await asyncio.sleep(3 * LEASE_S)
        await it.calm(20)
        await it.crowd.progress(20, 40)
        await it.end(redelivered=True, gap_s=CRASH_GAP_S)
        [told] = it.logged("handler_blocks")
        assert told["event_name"] == "block"
        assert sum(node.process.restarts for node in it.stack.app_nodes) == 1


async def test_one_becomes_three_and_one_again(seed: int) -> None:
    async with field("app-nodes 1-3-1", seed) as it:
        await it.wait_a_moment()
        await it.stack.start_app_node()
        await it.stack.start_app_node()
        await it.wait_a_moment()
        for _ in range(2):
            await it.stack.stop_app_node(it.rng.randrange(len(it.stack.app_nodes)), signal.SIGTERM)
            await it.wait_a_moment()
        await it.end(gap_s=PLANNED_GAP_S)


async def test_rolling_replacement(seed: int) -> None:
    async with field("app-nodes replaced", seed, app_nodes=2) as it:
        for _ in range(2):
            await it.stack.start_app_node()
            await it.wait_a_moment()
            await it.stack.stop_app_node(0, signal.SIGTERM)
            await it.wait_a_moment()
        await it.end(gap_s=PLANNED_GAP_S)


@pytest.mark.timeout(240)
async def test_no_app_node_for_30_seconds(seed: int) -> None:
    """Events and CONNECTs wait for 30 s. The app-node that then starts bears all of them at once."""
    async with field("no app-node for 30 s", seed, rate=6.5) as it:  # 39,000 events wait in the end
        await it.wait_a_moment()
        await it.stack.stop_app_node(0, signal.SIGTERM)
        newcomers = Crowd(
            it.stack.url, it.directory, websockets=180, pollers=20, rate=1, seed=seed, first=1000, connect_s=60
        )
        entering = asyncio.create_task(newcomers.__aenter__())
        await asyncio.sleep(30)
        assert not newcomers.members[0].joined.is_set()
        node = await it.stack.start_app_node()
        born = node.pid
        try:
            await entering
            it.guests.append(newcomers)
            await it.crowd.progress(40, 90)
            assert node.pid == born, "the new app-node was toppled"
            await it.end(gap_s=45, answered_within_s=30, balanced="each")
        finally:
            await newcomers.__aexit__()
