"""A scenario that was too slow is tried twice. One that broke a promise, or was far too slow, fails at once."""

import pytest
from tests.chaos.limits import Missed, TooSlow, check, tried_again

GOOD: tuple[list[str], list[Missed]] = ([], [])
SLOW: tuple[list[str], list[Missed]] = ([], [Missed("gap: 1155 ms", 0.155)])
FAR: tuple[list[str], list[Missed]] = ([], [Missed("gap: 1100 ms", 0.1), Missed("away: 20000 ms", 17.0)])
BROKEN: tuple[list[str], list[Missed]] = (["events_lost: 1"], [Missed("gap: 1155 ms", 0.155)])


class Scenario:
    """One that ends in these ways, one after the other."""

    def __init__(self, *ends: tuple[list[str], list[Missed]]) -> None:
        self.left = list(ends)
        self.told: list[str] = []

    async def run(self) -> None:
        await tried_again(self._once, self._hear)()

    async def _hear(self, slow: TooSlow) -> None:
        self.told.append(str(slow))

    async def _once(self) -> None:
        check("it", *self.left.pop(0))


async def test_good_ones_run_once() -> None:
    scenario = Scenario(GOOD, GOOD)
    await scenario.run()
    assert (len(scenario.left), scenario.told) == (1, [])


async def test_a_slow_one_may_be_good_at_the_second_try() -> None:
    scenario = Scenario(SLOW, GOOD)
    await scenario.run()
    assert (scenario.left, scenario.told) == ([], ["it:\ngap: 1155 ms"])


async def test_one_that_is_slow_twice_fails() -> None:
    scenario = Scenario(SLOW, SLOW, GOOD)
    with pytest.raises(TooSlow, match="gap: 1155 ms"):
        await scenario.run()
    assert len(scenario.left) == 1


@pytest.mark.parametrize(("end", "message"), [(FAR, "away: 20000 ms"), (BROKEN, "events_lost: 1")])
async def test_others_fail_at_once(end: tuple[list[str], list[Missed]], message: str) -> None:
    scenario = Scenario(end, GOOD)
    with pytest.raises(AssertionError, match=message) as raised:
        await scenario.run()
    assert not isinstance(raised.value, TooSlow)
    assert (len(scenario.left), scenario.told) == (1, [])


async def test_what_breaks_at_the_second_try_fails() -> None:
    scenario = Scenario(SLOW, BROKEN)
    with pytest.raises(AssertionError, match="events_lost: 1"):
        await scenario.run()
