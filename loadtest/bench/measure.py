"""The measurements. Each runs on a target with connected clients."""

import asyncio
import contextlib
import json
import statistics
import time

import msgspec

from loadtest.bench.load import Client, Tally
from loadtest.bench.targets import Target

FAN_OUT_TIMEOUT_S = 120.0


class FanOut(msgspec.Struct):
    """One room with everybody in it: what a delivery costs and how long it takes."""

    deliveries: int
    lost: int
    out_of_order: int
    per_second: float
    cpu_us_per_delivery: float
    latency_p50_ms: float
    latency_p99_ms: float


class RoundTrip(msgspec.Struct):
    """Acked events: what a round trip through the handler costs."""

    per_second: float
    cpu_us: float


async def fan_out(target: Target, clients: list[Client], tally: Tally, *, bursts: int, burst: int) -> FanOut:
    """`bursts` times `burst` messages to a room of all clients, 50 ms apart."""
    expected = bursts * burst * len(clients)
    tally.expect(expected)
    order = {"bursts": bursts, "burst": burst, "pause_s": 0.05}
    cpu, start = target.cpu_seconds(), time.perf_counter()
    clients[0].send_event(b'42999["blast",' + json.dumps(order).encode() + b"]")
    with contextlib.suppress(TimeoutError):  # what is missing is reported as lost
        await asyncio.wait_for(tally.complete.wait(), FAN_OUT_TIMEOUT_S)
    elapsed, cpu = time.perf_counter() - start, target.cpu_seconds() - cpu
    received = max(1, tally.deliveries)
    latencies = sorted(tally.latencies_s) or [float("nan")]
    return FanOut(
        deliveries=tally.deliveries,
        lost=expected - tally.deliveries,
        out_of_order=tally.out_of_order,
        per_second=received / elapsed,
        cpu_us_per_delivery=cpu / received * 1e6,
        latency_p50_ms=statistics.median(latencies) * 1e3,
        latency_p99_ms=latencies[int(len(latencies) * 0.99)] * 1e3,
    )


async def round_trips(target: Target, clients: list[Client], tally: Tally, *, seconds: float) -> RoundTrip:
    """Each client keeps one acked event under way for `seconds`."""
    for client in clients:
        client.echoing = True
        client.echo()
    await asyncio.sleep(0.5)  # warm
    tally.acks = 0
    cpu, start = target.cpu_seconds(), time.perf_counter()
    await asyncio.sleep(seconds)
    acks, elapsed, cpu = tally.acks, time.perf_counter() - start, target.cpu_seconds() - cpu
    for client in clients:
        client.echoing = False
    await asyncio.sleep(0.3)  # let the last ones come back
    return RoundTrip(per_second=acks / elapsed, cpu_us=cpu / max(1, acks) * 1e6)
