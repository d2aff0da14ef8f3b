"""The benchmark of the simulated browser measures both kinds of receiver, tried with few clients."""

import pytest
from loadtest.tests.browser import bench

pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(90)]


@pytest.mark.parametrize("kind", ["browser", "locust"])
async def test_a_receiver_gets_every_round(kind: str) -> None:
    result = await bench.measure(kind, 8, seconds=0.3, spawn_rate=50, burst=3)
    for phase, size in ((result.single, 8), (result.bursts, 24)):
        assert phase.deliveries >= 2 * size
        assert phase.deliveries % size == 0
        assert phase.per_cpu_second > 0
    assert result.memory_kb_per_client > 0
    if kind == "browser":  # about a thirtieth of what it does on a slow machine; processor time comes in steps of 10 ms
        assert result.single.per_cpu_second > 10_000
