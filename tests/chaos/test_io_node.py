"""Faults of io-nodes: their clients come back elsewhere, and the application hears of each exactly once."""

import asyncio
import signal
from collections.abc import Iterable

import pytest
from tests.chaos import records
from tests.chaos.cluster import DRAIN_S, NODE_TIMEOUT_S, until
from tests.chaos.crowd import Member
from tests.chaos.field import JS_FIRST, Field, field

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]

REAPED_S = NODE_TIMEOUT_S + 0.7
"""When the last of its clients must have been told: the node's time-out, and the handlers' time on a busy machine."""


@pytest.mark.parametrize("how", ["removed from nginx first", "by signal alone"])
async def test_drain(seed: int, how: str) -> None:
    """Clients are told to move in waves; nobody loses what was sent while the connection was there.

    What a client that polls is told while the io-node drains waits for its next request, which may come too late. So
    it may miss answers from the whole of that time before its connection breaks.
    """
    async with field(f"io-node drained, {how}", seed, io_nodes=3) as it:
        await it.wait_a_moment()
        index = it.rng.randrange(3)
        victim = it.stack.io_nodes[index]
        moving = len(it.members_of(victim))
        assert moving > 20
        if how == "by signal alone":
            victim.process.signal(signal.SIGTERM)
            await it.until_serves_anew(victim, victim.pid, 20)
        else:
            await it.stack.remove_io_node(index)
        await it.crowd.all_in(20)
        await it.crowd.progress(20, 30)
        verdict = await it.end(breaks=True, strict_below=JS_FIRST, written_s=1.0 + DRAIN_S, gap_s=1.0, away_s=2.0)
        assert verdict.connections_broken >= moving
        assert verdict.reasons["node drained"] >= moving
        assert "node lost" not in verdict.reasons


async def test_kill(seed: int) -> None:
    async with field("io-node killed", seed, io_nodes=3) as it:
        await it.wait_a_moment()
        victim = it.rng.choice(it.stack.io_nodes)
        members = it.members_of(victim)
        sids, for_good = _sids(members), _sids(member for member in members if not member.recovers)
        killed_at = records.now_us()
        it.kill(victim)
        await _buried(it, sids, killed_at)
        await it.crowd.all_in(20)
        await it.crowd.progress(20, 30)
        verdict = await it.end(breaks=True, gap_s=1.0)
        assert verdict.reasons["node lost"] >= len(for_good)
        assert verdict.given_back >= len(sids - for_good) > 0


async def test_pause_until_it_counts_as_lost(seed: int) -> None:
    """The io-node counts as dead. When it goes on, its clients must connect anew, and nobody hears of them twice."""
    async with field("io-node paused until lost", seed, io_nodes=3) as it:
        await it.wait_a_moment()
        victim = it.rng.choice(it.stack.io_nodes)
        sids = _sids(it.members_of(victim))
        paused_at = records.now_us()
        it.pause(victim)
        try:
            await _buried(it, sids, paused_at)
        finally:
            it.resume(victim)
        await until(lambda: _all_moved(it, sids), 20, "clients of the lost node were not closed")
        await it.crowd.all_in(20)
        await it.crowd.progress(20, 30)
        await it.end(breaks=True, silent_from=paused_at, gap_s=NODE_TIMEOUT_S + 3, away_s=NODE_TIMEOUT_S + 3)


async def test_short_pause(seed: int) -> None:
    """The pause is shorter than the time-out: clients wait, and nothing else happens."""
    async with field("io-node paused for 1.5 s", seed, io_nodes=3) as it:
        await it.wait_a_moment()
        victim = it.rng.choice(it.stack.io_nodes)
        it.pause(victim)
        await asyncio.sleep(1.5)
        it.resume(victim)
        it.crashed.clear()  # it loses nothing
        await it.crowd.progress(20, 30)
        await it.end(gap_s=2.5, balanced="all")


def _sids(members: Iterable[Member]) -> set[str]:
    return {member.sid for member in members}


async def _buried(it: Field, sids: set[str], since: int) -> None:
    """Waits until the application was told in time that each of these clients is gone. One that comes back before is
    told of when it does."""

    async def told() -> bool:
        return sids <= records.disconnected(it.directory).keys()

    await until(told, REAPED_S + 3, "the application was not told who is gone")
    late = [
        gone
        for gone in records.read(it.directory).disconnects
        if gone.sid in sids and gone.reason == "node lost" and gone.at - since > REAPED_S * 1e6
    ]
    assert not late, f"{len(late)} disconnects came too late, one {(late[0].at - since) / 1e6:.1f} s after the fault"


async def _all_moved(it: Field, sids: set[str]) -> bool:
    """Whether none of these connections is there any more."""
    return sids <= records.parted(it.directory).keys()
