"""What connections cost before anybody says anything: to connect, to hold, and the cluster without a client."""

import asyncio

from loadtest.bench.load.clients import Client, Tally, connect
from loadtest.bench.targets import PARTS, Target
from loadtest.bench.work.gauge import Gauge

SETTLE_S = 0.5
"""How long after the last one arrived memory is looked at."""


async def arrive(
    target: Target, tally: Tally, count: int, *, recovers: bool = False
) -> tuple[list[Client], dict[str, float]]:
    """`count` clients connect over WebSocket, 50 at a time, and are accepted. Memory is what one of them adds."""
    before = target.memory_bytes()
    gauge = Gauge(target)
    clients = await connect(target.ports, count, tally, recovers=recovers)
    used = gauge.read()
    await asyncio.sleep(SETTLE_S)
    after = target.memory_bytes()
    return clients, {
        **used.cpu_us(count),
        **{f"{part}_kb": (after[part] - before[part]) / count / 1024 for part in PARTS},
        "generator": used.generator_share,
    }


async def idle(target: Target, seconds: float) -> dict[str, float]:
    """Nobody is connected."""
    gauge = Gauge(target)
    await asyncio.sleep(seconds)
    used = gauge.read()
    return used.cpu_us(used.seconds * 1e3, "cpu_ms_per_second")
