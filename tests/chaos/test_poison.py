"""Events that end their process, or block it: each ends three at most, and only its own sender feels more than that."""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.chaos import records
from tests.chaos.cluster import LEASE_S
from tests.chaos.field import Field, field

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

MOST_DEATHS = 3
TAKEOVER_S = LEASE_S + 3
"""From a death to when its lanes are served again, if another process is there."""

KINDS = ("exit", "crash", "loop", "memory")
ACK_ID = 1_000_000
RATE = 6.5
"""Events a second and client: fewer than elsewhere, for what waits through three deaths must be worked off too."""


@pytest.mark.parametrize("app_nodes", [1, 2, 3])
@pytest.mark.parametrize("kind", KINDS)
async def test_poison(seed: int, kind: str, app_nodes: int) -> None:
    """It is answered with an empty ack. Everybody's other events are handled, in order, its sender's too."""
    name = f"poison by {kind}, {app_nodes} app-node{'s' * (app_nodes > 1)}"
    async with field(name, seed, app_nodes=app_nodes, official=False, rate=RATE) as it:
        await it.wait_a_moment()
        sender = it.rng.choice(it.crowd.members)
        sender.send(f'{ACK_ID}["poison","{kind}"]')
        async with asyncio.timeout(60):
            restarting_s = await _until_set_aside(it)
        await it.calm(10)
        await it.end(redelivered=True, gap_s=MOST_DEATHS * TAKEOVER_S + restarting_s, answered_within_s=30)
        [dead] = it.logged("fact_set_aside")
        assert (dead["event_name"], dead["sid"]) == ("poison", sender.sid)
        assert records.read(it.directory).acks[sender.number, ACK_ID] == 1
        assert 1 <= it.restarts <= MOST_DEATHS


async def _until_set_aside(it: Field) -> float:
    """Any app-node may end meanwhile, and be started again. Returns the seconds in which one was missing or blocked.

    One whose loop is blocked is killed when it has lost its lanes.
    """
    loop, blocked, missing_s = asyncio.get_running_loop(), dict[int, float](), 0.0
    looked = loop.time()
    while not it.logged("fact_set_aside") or not _are_all_there(it):
        it.in_trouble(*[node for node in it.stack.app_nodes if node.pid and node.pid not in it.crashed])
        for pid in _looping(it):
            if loop.time() > blocked.setdefault(pid, loop.time()) + LEASE_S + 0.5:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        is_missing = not _are_all_there(it) or any(node.pid in blocked for node in it.stack.app_nodes)
        missing_s += is_missing * (loop.time() - looked)
        looked = loop.time()
    it.restarts = len(it.crashed) - len(it.stack.app_nodes)
    return missing_s


def _are_all_there(it: Field) -> bool:
    """Whether each app-node runs, and has registered. One that an event ends at once does not come further."""
    return all(node.pid for node in it.stack.app_nodes) and len(it.logged("app_node_registered")) >= len(it.crashed)


def _looping(it: Field) -> Iterator[int]:
    for path in it.directory.glob("loop-*"):
        yield int(path.name.partition("-")[2])
