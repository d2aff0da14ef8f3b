"""Trying again, and the waits between tries."""

import asyncio
import itertools
import math
from collections import Counter

import pytest
from structlog.testing import capture_logs

from sio_cluster.node.retry import Backoff, Retry
from sio_cluster.protocol.errors import BusError, BusRefused, BusUnavailable, LeaseLost


def test_it_doubles_up_to_its_cap() -> None:
    waits = list(itertools.islice(Backoff(50, 2000, lambda: 1.0), 8))
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]


def test_jitter_takes_up_to_half_away() -> None:
    assert math.isclose(next(Backoff(100, 2000, lambda: 0.0)), 0.05)
    waits = [wait for _ in range(100) for wait in itertools.islice(Backoff(), 10)]
    assert min(waits) >= 0.025
    assert max(waits) <= 2.0


def test_reset_begins_anew() -> None:
    backoff = Backoff(50, 2000, lambda: 1.0)
    list(itertools.islice(backoff, 5))
    backoff.reset()
    assert next(backoff) == 0.05


def test_the_cap_counts_from_the_first() -> None:
    assert next(Backoff(5000, 2000, lambda: 1.0)) == 2.0


class Flaky:
    """Fails as often as it is told to, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.calls


class TestRetry:
    def new(self) -> tuple[Retry, Counter[str]]:
        counts: Counter[str] = Counter()
        return Retry("lookup", counts, cap_ms=1), counts

    async def test_a_call_is_tried_until_it_works(self) -> None:
        retry, counts = self.new()
        assert await retry.call(Flaky(BusUnavailable("away"), BusRefused("no"))) == 3
        assert counts == {"lookup": 2}

    async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(self) -> None:
        retry, _ = self.new()
        with capture_logs() as lines:
            await retry.call(Flaky(BusUnavailable("away"), BusUnavailable("still away")))
            await retry.call(Flaky())
        assert lines == [
            {"event": "redis_retry", "log_level": "warning", "operation": "lookup", "error": "away"},
            {"event": "redis_recovered", "log_level": "info", "operation": "lookup", "failures": 2},
        ]

    @pytest.mark.parametrize("error", [LeaseLost("gone"), ValueError("a defect")])
    async def test_what_is_no_bus_error_passes_through(self, error: Exception) -> None:
        retry, counts = self.new()
        with pytest.raises(type(error)):
            await retry.call(Flaky(error))
        assert counts == {"lookup": 0}

    def test_an_operation_is_counted_from_the_start(self) -> None:
        """So that monitoring sees its first failure."""
        _, counts = self.new()
        assert dict(counts) == {"lookup": 0}

    async def test_calls_that_overlap_are_one_outage(self) -> None:
        retry, counts = self.new()
        with capture_logs() as lines:
            await asyncio.gather(*[retry.call(Flaky(BusUnavailable("away"))) for _ in range(5)])
        assert counts == {"lookup": 5}
        assert [line["event"] for line in lines] == ["redis_retry", "redis_recovered"]

    async def test_a_loop_goes_on_after_a_failure(self) -> None:
        retry, counts = self.new()
        operation = Flaky(BusUnavailable("away"))
        enough = asyncio.Event()

        async def once() -> None:
            if await operation() == 4:
                enough.set()

        loop = asyncio.create_task(retry.forever(once))
        async with asyncio.timeout(5):
            await enough.wait()
        loop.cancel()
        assert counts == {"lookup": 1}

    def test_waits_grow_while_it_fails_and_begin_anew_after_a_success(self) -> None:
        retry = Retry("lookup", Counter())
        waits = [retry.failed(BusUnavailable("away")) for _ in range(10)]
        assert 0.025 <= waits[0] <= 0.05
        assert 1.0 <= waits[-1] <= 2.0
        retry.succeeded()
        assert retry.failed(BusUnavailable("away")) <= 0.05

    def test_it_is_stuck_after_some_seconds_and_until_it_works(self) -> None:
        retry = Retry("lookup", Counter())
        waited_s = 0.0
        while not retry.stuck:
            waited_s += retry.failed(BusUnavailable("away"))
        assert 2 < waited_s < 8
        retry.succeeded()
        assert not retry.stuck

    def test_a_lost_lease_is_nothing_to_try_again(self) -> None:
        assert not issubclass(LeaseLost, BusError)
