"""Faults of Redis and of the network to it: clients stay, both directions hold and then go on in order.

App-nodes are `in_trouble` meanwhile: one that cannot renew its leases gives its lanes up, and the next one handles
again what was unfinished.
"""

import asyncio
import signal

import pytest
from tests.chaos import records
from tests.chaos.cluster import LEASE_S
from tests.chaos.field import field

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(150)]

LOG_ENDS = 4.0
"""Seconds after which every node has found Redis again: twice the longest backoff."""

UPLINK_BUFFER_BYTES = 100_000
OVERSHOOT_BYTES = 50_000
"""What clients may add after the limit, before each is paused: one read of each."""

BACKOFF_S = 2.0


async def test_stall_for_10_seconds(seed: int) -> None:
    async with field("Redis stalled for 10 s", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.in_trouble(*it.stack.app_nodes)
        it.valkey.pause()
        await asyncio.sleep(10)
        it.valkey.resume()
        await it.calm(15)
        await it.crowd.progress(15, 60)
        await it.end(redelivered=True, gap_s=10 + LOG_ENDS, balanced="all")


async def test_stall_that_fills_the_buffers(seed: int) -> None:
    """Sockets are not read any more, and what waits is bounded. The stall is below 5 s, for so long does the official
    Python client wait for the answer to a POST."""
    env = {"UPLINK_BUFFER_BYTES": str(UPLINK_BUFFER_BYTES)}
    async with field("Redis stalled, buffers full", seed, app_nodes=2, env=env) as it:
        await it.wait_a_moment()
        it.in_trouble(*it.stack.app_nodes)
        it.valkey.pause()
        await asyncio.sleep(4)
        stalled = [await it.metrics(node) for node in it.stack.io_nodes]
        it.valkey.resume()
        for sample in stalled:
            assert sample.total("sio_io_connections_paused") > 0
            waiting = sample.total("sio_io_uplink_waiting_bytes")
            assert waiting <= UPLINK_BUFFER_BYTES + OVERSHOOT_BYTES, f"{waiting:g} bytes wait"
        await it.calm(15)
        await it.crowd.progress(15, 60)
        await it.end(redelivered=True, gap_s=4 + LOG_ENDS + LEASE_S, balanced="all")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
async def test_restart_with_an_append_only_file(seed: int, how: signal.Signals) -> None:
    async with field(f"Redis restarted with its file, {how.name}", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.in_trouble(*it.stack.app_nodes)
        if how is signal.SIGKILL:
            await asyncio.to_thread(it.valkey.kill)
        else:
            await asyncio.to_thread(it.valkey.stop)
        await asyncio.sleep(it.rng.uniform(0.5, 2))
        it.valkey.start()
        await it.calm(15)
        await it.crowd.progress(15, 60)
        await it.end(redelivered=True, gap_s=2 + LOG_ENDS + LEASE_S)


async def test_restart_without_any_data(seed: int) -> None:
    """What was in Redis is lost, and nothing else. Clients stay; nodes register anew and log why."""
    async with field("Redis restarted empty", seed, app_nodes=2, redis={"appendonly": "no"}) as it:
        await it.wait_a_moment()
        it.in_trouble(*it.stack.app_nodes)
        began = records.now_us()
        await asyncio.to_thread(it.valkey.kill)
        await asyncio.sleep(it.rng.uniform(0.5, 2))
        it.valkey.start()
        for node in it.stack.io_nodes:
            await it.until_logged("registration_lost", node.name, within_s=10)
        ended = records.now_us()
        await it.crowd.sends(50)
        for node in it.stack.io_nodes:
            assert (await it.metrics(node)).total("sio_io_redis_data_lost_total") == 1
        window = (began - 1_000_000, ended + 3_000_000)
        await it.end(redelivered=True, gap_s=2 + LOG_ENDS + LEASE_S, lossy=window, answered_within_s=5)
        for node in it.stack.io_nodes:
            assert [entry["why"] for entry in it.logged("registration_lost", node.name)] == ["Redis lost its data"]


async def test_connections_are_reset(seed: int) -> None:
    """A batch whose answer was lost is sent again, and Redis recognises it."""
    async with field("connections to Redis reset", seed, app_nodes=2, proxied=("all",)) as it:
        for _ in range(5):
            await it.wait_a_moment()
            it.proxies["all"].reset()
        await it.crowd.progress(10, 30)
        await it.end(gap_s=LOG_ENDS, balanced="all")


async def test_slow_network(seed: int) -> None:
    """100 to 200 ms there and back, in uneven pieces."""
    async with field("Redis slow by 100 ms, with jitter", seed, app_nodes=2, proxied=("all",)) as it:
        await it.wait_a_moment()
        it.proxies["all"].delay_s = it.proxies["all"].jitter_s = 0.05
        await it.crowd.progress(50, 60)
        await it.end(gap_s=3, balanced="all")


async def test_full(seed: int) -> None:
    """Redis refuses writes (maxmemory, noeviction). Nothing is dropped, and the logs say why."""
    async with field("Redis full for 4 s", seed, app_nodes=2) as it:
        await it.wait_a_moment()
        it.in_trouble(*it.stack.app_nodes)
        await it.tell_redis("CONFIG", "SET", "maxmemory", 1_000_000)
        try:
            await asyncio.sleep(4)
            for node in it.stack.io_nodes:
                assert (await it.metrics(node)).total("sio_io_redis_full_total") > 0
        finally:
            await it.tell_redis("CONFIG", "SET", "maxmemory", 0)
        await it.calm(15)
        await it.crowd.progress(15, 60)
        await it.end(redelivered=True, gap_s=4 + LOG_ENDS + LEASE_S, balanced="all")
        refusals = [line for name, line in it.lines if name.startswith("io") and "OOM" in line]
        assert refusals, "no io-node said that Redis is full"


@pytest.mark.parametrize("kind", ["app", "io"])
async def test_half_open_network(seed: int, kind: str) -> None:
    """Packets between one node and Redis vanish. It becomes unready within 5 s, and recovers by itself."""
    env = {"NODE_TIMEOUT_MS": "30000"} if kind == "io" else {}
    async with field(f"{kind}-node's network half-open", seed, proxied=(kind,), env=env) as it:
        await it.wait_a_moment()
        node = (it.stack.app_nodes if kind == "app" else it.stack.io_nodes)[-1]
        it.in_trouble(*it.stack.app_nodes)
        proxy = it.proxies[kind]
        proxy.blackhole = True
        opened, connections = proxy.opened, proxy.connections
        try:
            await it.until_ready(node, False, 5)
            await asyncio.sleep(7)
        finally:
            proxy.blackhole = False
        assert proxy.opened > opened, "it did not try new connections"
        tried, at_most = proxy.opened - opened, connections * 12 / BACKOFF_S
        assert tried <= at_most, f"{tried} tries in 12 s by {connections} connections: it does not back off"
        recovered_s = await it.until_ready(node, True, 12)
        await it.calm(15)
        await it.crowd.progress(15, 60)
        limit = LEASE_S + 1 if kind == "app" else 5 + 7 + recovered_s + 2
        await it.end(redelivered=True, gap_s=limit, balanced="all")
