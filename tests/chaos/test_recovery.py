"""Connection state recovery: stock JavaScript clients whose io-node dies, leaves or freezes get their sessions back,
and every message once and in order, judged from what handlers and clients wrote (tests/chaos/streams.py).

The application emits about 1000 messages a second, or as many as the machine bears: to rooms, to two rooms at once, to
sids, to all but one of a room, to everybody, and with attachments.
"""

import asyncio
import os
import signal

import pytest
from tests.chaos import streams
from tests.chaos.cluster import NODE_TIMEOUT_S, until
from tests.chaos.limits import Missed, check
from tests.chaos.scene import BACK_S, CLIENTS, FEW, LIMIT_S, POURED, ROUNDS, Scene, scene

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(LIMIT_S)]


async def test_kill(seed: int) -> None:
    """Again and again: whichever io-node is killed, with those that it took over before."""
    async with scene("recovery, io-node killed", seed) as it:
        for _ in range(ROUNDS):
            victim = it.rng.choice(it.stack.io_nodes)
            old, before = victim.pid, it.broken
            it.kill(victim)
            await asyncio.sleep(1.0)
            await it.all_back(before)
            await it.restarted(victim, old)
            await asyncio.sleep(NODE_TIMEOUT_S + 1)  # and the old one is buried
        await it.end(recovered=CLIENTS // 4)


async def test_drain(seed: int) -> None:
    async with scene("recovery, io-node drained", seed) as it:
        victim = it.rng.choice(it.stack.io_nodes)
        had = it.at_home(victim)
        victim.process.signal(signal.SIGTERM)
        await it.all_back(had)
        await it.end(recovered=had)


async def test_rolling_deploy(seed: int) -> None:
    """Every io-node leaves once, one after the other."""
    async with scene("recovery, all io-nodes replaced", seed) as it:
        await _replace_all(it)
        await it.end(recovered=CLIENTS)


async def test_rolling_deploy_that_nobody_hears_of(seed: int) -> None:
    """With RECOVERY_NOTICE=late. One client does not come back, and the application hears of that once, in the end."""
    window_s = 20.0
    async with scene("recovery, nobody hears of a deploy", seed, window_s=window_s, notice="late") as it:
        it.gone = {0}
        await it.order("away 1")
        await _replace_all(it)

        def is_told() -> bool:
            return any(one.client == 0 for one in streams.disconnects(it.directory))

        await it.until(is_told, window_s + 10, lambda: "the application was not told who stays away")
        seen = await it.end(recovered=CLIENTS - 1)
        (told,) = [one for one in seen.disconnects if one.client == 0]
        (broke,) = streams.breaks(it.directory, 0)
        assert told.at - broke >= window_s * 1e6, f"told {(told.at - broke) / 1e6:.1f} s after the connection ended"
        early = [one for one in seen.disconnects if one.client != 0 and one.at < it.left_at]
        assert not early, f"{len(early)} disconnects of clients that came back, as {early[0]}"


async def test_pause_until_lost(seed: int) -> None:
    async with scene("recovery, io-node paused until lost", seed) as it:
        victim = it.rng.choice(it.stack.io_nodes)
        had = it.at_home(victim)
        os.kill(victim.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(NODE_TIMEOUT_S + 3)
        finally:
            os.kill(victim.pid, signal.SIGCONT)
        await it.all_back(had)
        await it.end(recovered=had)


async def test_kill_who_took_over(seed: int) -> None:
    """Two kills within the window: the second one hits whoever adopted clients of the first."""
    async with scene("recovery, who took over is killed", seed) as it:
        first, second = it.rng.sample(it.stack.io_nodes, 2)
        had = it.kill(first)
        await it.all_back(had)
        it.kill(second)
        await it.all_back(had + 1)
        await it.end(recovered=had)


async def test_second_kill_while_clients_are_away(seed: int) -> None:
    """Two kills within the window: the second one before the clients of the first are back."""
    async with scene("recovery, two io-nodes killed", seed) as it:
        first, second = it.rng.sample(it.stack.io_nodes, 2)
        had = it.kill(first)
        await asyncio.sleep(it.rng.uniform(0, 0.3))
        had += it.kill(second)
        await it.all_back(had)
        await it.end(recovered=had)


async def test_kill_in_the_midst_of_a_replay(seed: int) -> None:
    """Some clients have missed thousands of messages, 40 MB: more than there is room for on the way to a client. The
    io-node that gives them back dies after some of them."""
    async with scene("recovery, killed in a replay", seed, env={"RECOVERY_MAX_BYTES": "64000000"}) as it:
        await it.order(f"away {FEW}")
        (it.directory / "pour").touch()

        async def is_poured() -> bool:
            return len(list(it.directory.glob("poured-*"))) == len(it.stack.app_nodes)

        await until(is_poured, 60, "the application has not emitted all")
        before = await it.replayed()
        given = before

        async def is_begun() -> bool:
            nonlocal given
            given = await it.replayed()
            return given != before

        await it.order("back slowly")
        await until(is_begun, BACK_S, "nothing is given back", every_s=0.01)
        grown = [now - former for now, former in zip(given, before, strict=True)]
        had = it.kill(it.stack.io_nodes[grown.index(max(grown))])
        await it.all_back(had)
        await it.end(recovered=FEW + 1)
        found = streams.interrupted(it.directory, "few")
        print(f"told before and after the kill, of {POURED * len(it.stack.app_nodes)}: {found}")
        check("recovery, killed in a replay", [], [] if found else [Missed("no replay was under way at the kill")])


async def test_kill_an_app_node_too(seed: int) -> None:
    async with scene("recovery, an app-node is killed too", seed) as it:
        had = it.kill(it.rng.choice(it.stack.io_nodes))
        os.kill(it.rng.choice(it.stack.app_nodes).pid, signal.SIGKILL)
        await it.all_back(had)
        await it.end(recovered=had)


async def test_redis_stalls(seed: int) -> None:
    async with scene("recovery, Redis stalled for 10 s", seed) as it:
        had = it.kill(it.rng.choice(it.stack.io_nodes))
        it.valkey.pause()
        await asyncio.sleep(10.0)
        it.valkey.resume()
        await it.all_back(had)
        await it.end(recovered=had)


async def test_redis_restarts_with_its_file(seed: int) -> None:
    """It dies while all clients are away, and they come back while it starts."""
    async with scene("recovery, Redis restarted with its file", seed) as it:
        await it.order(f"away {CLIENTS}")
        await asyncio.sleep(1.0)
        await asyncio.to_thread(it.valkey.kill)
        await asyncio.sleep(it.rng.uniform(0.5, 2.0))
        await it.order("back")
        await asyncio.to_thread(it.valkey.start)
        await it.all_back(CLIENTS)
        await it.end(recovered=CLIENTS)


async def test_dropped_five_times(seed: int) -> None:
    """All connections break at once, five times, and the io-nodes live."""
    async with scene("recovery, dropped five times", seed) as it:
        for turn in range(1, 6):
            await it.order("drop")
            await it.all_back(CLIENTS * turn)
        await it.end(recovered=5 * CLIENTS)


async def _replace_all(it: Scene) -> None:
    for victim in list(it.stack.io_nodes):
        old = victim.pid
        victim.process.signal(signal.SIGTERM)
        await it.restarted(victim, old)
        await asyncio.sleep(2.0)
        await it.all_back(0)
