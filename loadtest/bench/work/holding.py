"""What connections cost before anybody says anything: to connect, to hold, and the cluster without a client."""

import asyncio

from loadtest.bench.load.clients import Client, Tally, connect
from loadtest.bench.targets import Target
from loadtest.bench.work.gauge import Gauge


async def arrive(target: Target, tally: Tally, count: int) -> tuple[list[Client], dict[str, float]]:
    """`count` clients connect over WebSocket, 50 at a time, and are accepted. Memory is what one of them adds."""
    before = target.memory_bytes()
    gauge = Gauge(target)
    clients = await connect(target.ports, count, tally)
    used = gauge.read()
    after = target.memory_bytes()
    return clients, {
        "cpu_us": used.cpu_s / count * 1e6,
        "holder_kb": (after["holders"] - before["holders"]) / count / 1024,
        "others_kb": (after["others"] - before["others"]) / count / 1024,
        "generator": used.generator_share,
    }


async def idle(target: Target, seconds: float) -> dict[str, float]:
    """Nobody is connected."""
    gauge = Gauge(target)
    await asyncio.sleep(seconds)
    used = gauge.read()
    return {"cpu_ms_per_second": used.cpu_s / used.seconds * 1e3}
