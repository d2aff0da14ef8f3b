"""The benchmark measures what it says, tried with few clients."""

import pytest
from loadtest.bench import load, measure, targets
from loadtest.bench.__main__ import TARGETS

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]


@pytest.mark.parametrize("name", TARGETS)
async def test_each_target_carries_the_load(name: str) -> None:
    tally = load.Tally()
    async with TARGETS[name]() as target:
        clients = await load.connect(target.ports, 5, tally)
        single = await measure.fan_out(target, clients, tally, bursts=3, burst=1)
        burst = await measure.fan_out(target, clients, tally, bursts=2, burst=10)
        acked = await measure.round_trips(target, clients, tally, seconds=1.0)
        load.disconnect(clients)
        assert target.memory_bytes() > 0
    assert (single.deliveries, single.lost, single.out_of_order) == (15, 0, 0)
    assert (burst.deliveries, burst.lost, burst.out_of_order) == (100, 0, 0)
    assert acked.per_second > 0
    assert acked.cpu_us > 0  # enough work for the clock ticks in which Linux counts CPU time


async def test_what_is_missing_counts_as_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "FAN_OUT_TIMEOUT_S", 1.0)
    tally = load.Tally()
    async with targets.plain() as target:
        clients = await load.connect(target.ports, 3, tally)
        clients[2].disconnect()
        result = await measure.fan_out(target, clients, tally, bursts=4, burst=1)
        load.disconnect(clients)
    assert (result.deliveries, result.lost) == (8, 4)
