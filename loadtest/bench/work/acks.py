"""Acked events: in a closed loop, where each client waits for its ack, and in an open loop, where events just come."""

import asyncio
from collections.abc import Callable, Sequence

from loadtest.bench.load.clients import Client, Tally
from loadtest.bench.load.pace import arrivals
from loadtest.bench.targets import Target
from loadtest.bench.work.gauge import Gauge, percentile

WARM_S = 0.3
ANSWERS_S = 30.0
ECHO = b'["echo",1]'


async def closed_loop(target: Target, clients: Sequence[Client], tally: Tally, seconds: float) -> dict[str, float]:
    """Each client keeps one acked event under way."""
    for client in clients:
        client.again = ECHO
        client.send(ECHO)
    await asyncio.sleep(WARM_S)
    tally.expect()
    gauge = Gauge(target)
    await asyncio.sleep(seconds)
    used, acks = gauge.read(), max(1, tally.acks)
    round_trips = list(tally.round_trips_s)
    for client in clients:
        client.again = b""
    await _answered(clients)
    return {
        **used.cpu_us(acks),
        "p50_ms": percentile(round_trips, 0.5) * 1e3,
        "p99_ms": percentile(round_trips, 0.99) * 1e3,
        "per_second": acks / used.seconds,
        "generator": used.generator_share,
    }


async def open_loop(
    target: Target,
    clients: Sequence[Client],
    tally: Tally,
    seconds: float,
    per_second: float,
    event: Callable[[int], bytes] = lambda number: ECHO,
) -> dict[str, float]:
    """Events from all clients in turn, at times of their own. `event(number)`: what the client of that number sends.

    `missing`: events without an ack five seconds after the last was sent. The target cannot carry that load.
    """
    tally.expect()
    count = len(clients)

    def send(number: int, due: float) -> None:
        clients[number % count].send(event(number % count), due)

    gauge = Gauge(target)
    sent = await arrivals(per_second, seconds, send)
    await _answered(clients)
    used = gauge.read()
    return {
        **used.cpu_us(sent),
        **used.cpu_us(tally.deliveries, "cpu_us_per_delivery"),
        "p50_ms": percentile(tally.round_trips_s, 0.5) * 1e3,
        "p99_ms": percentile(tally.round_trips_s, 0.99) * 1e3,
        "missing": sent - tally.acks,
        "generator": used.generator_share,
    }


async def _answered(clients: Sequence[Client]) -> None:
    """Waits until nothing is unanswered, but not for ever; then forgets what is."""
    loop = asyncio.get_running_loop()
    until = loop.time() + ANSWERS_S
    while any(client.unanswered for client in clients) and loop.time() < until:  # noqa: ASYNC110 - many clients
        await asyncio.sleep(0.02)
    for client in clients:
        client.unanswered.clear()
