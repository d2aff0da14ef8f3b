"""The arrivals of an open loop."""

import time

from loadtest.bench.load.pace import arrivals


async def test_they_come_at_the_rate_and_are_the_same_each_time() -> None:
    first, second = list[tuple[int, float]](), list[tuple[int, float]]()
    count = await arrivals(500, 0.4, lambda number, due: first.append((number, due)))
    assert count == len(first)
    assert 140 <= count <= 260  # 200 expected, with a deviation of 14
    assert [number for number, _ in first] == list(range(count))
    assert await arrivals(500, 0.4, lambda number, due: second.append((number, due))) == count
    later_s = second[0][1] - first[0][1]
    assert all(abs(one + later_s - other) < 0.001 for (_, one), (_, other) in zip(first, second, strict=True))


async def test_what_is_late_is_sent_all_the_same() -> None:
    """A target that holds the generator up does not get fewer events: an open loop does not wait."""

    def send(number: int, due: float) -> None:
        if number == 0:
            time.sleep(0.1)

    assert await arrivals(1000, 0.2, send) == await arrivals(1000, 0.2, lambda number, due: None)
