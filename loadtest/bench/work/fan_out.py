"""One emit, many receivers: all in one room, over WebSocket or polling."""

import asyncio
import contextlib
import json
from collections.abc import Sequence

from loadtest.bench.load.clients import Client, Tally
from loadtest.bench.targets import Target
from loadtest.bench.work.gauge import Gauge, percentile

PAUSE_S = 0.05
COMPLETE_S = 60.0


async def blast(
    target: Target, clients: Sequence[Client], tally: Tally, room: str, *, bursts: int, burst: int
) -> dict[str, float]:
    """`bursts` times `burst` messages to a room in which all these clients are, with a pause after each burst.

    A background task of the server emits them.
    """
    expected = bursts * burst * len(clients)
    tally.expect(expected)
    order = json.dumps(["blast", {"bursts": bursts, "burst": burst, "room": room, "pause_s": PAUSE_S}])
    gauge = Gauge(target)
    clients[0].send(order.encode())
    await _complete(tally)
    return _figures(gauge, tally, expected)


async def volleys(
    target: Target, clients: Sequence[Client], tally: Tally, room: str, *, bursts: int, burst: int
) -> dict[str, float]:
    """The same, but each burst is emitted by the handler of an event. The next event comes after a pause."""
    expected = bursts * burst * len(clients)
    tally.expect(expected)
    order = json.dumps(["volley", {"burst": burst, "room": room}]).encode()
    gauge = Gauge(target)
    for _ in range(bursts):
        await clients[0].ask(order)
        await asyncio.sleep(PAUSE_S)
    await _complete(tally)
    return _figures(gauge, tally, expected)


async def _complete(tally: Tally) -> None:
    with contextlib.suppress(TimeoutError):  # what is missing is reported as lost
        await asyncio.wait_for(tally.complete.wait(), COMPLETE_S)


def _figures(gauge: Gauge, tally: Tally, expected: int) -> dict[str, float]:
    used, received = gauge.read(), max(1, tally.deliveries)
    return {
        **used.cpu_us(received),
        "p50_ms": percentile(tally.latencies_s, 0.5) * 1e3,
        "p99_ms": percentile(tally.latencies_s, 0.99) * 1e3,
        "per_second": received / used.seconds,
        "lost": expected - tally.deliveries,
        "out_of_order": tally.out_of_order,
        "generator": used.generator_share,
    }
