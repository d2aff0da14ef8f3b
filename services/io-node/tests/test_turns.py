"""Work for very many, in turns. Only these tests turn the clock, so it is known how much is done in a turn."""

import asyncio
import time as real_time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

import io_node.engineio.wheel
import io_node.turns
from io_node.engineio.wheel import TimerWheel
from io_node.turns import Turns, in_turns

STEP_S = 0.001
"""So much later it is at each look. A turn lasts 5 ms, and there is a look after 16 pieces of work."""
MOST = 6 * 16


@pytest.fixture(autouse=True)
def slow_work(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter(range(10**9))
    time = SimpleNamespace(perf_counter=lambda: next(looks) * STEP_S)
    monkeypatch.setattr(io_node.turns, "time", time)
    monkeypatch.setattr(io_node.engineio.wheel, "time", time)


async def most_in_a_turn(done: list[int], count: int) -> int:
    """The largest number that was done between two turns of the loop, until all are done."""
    most = before = 0
    async with asyncio.timeout(5):
        while before < count:
            await asyncio.sleep(0)
            most, before = max(most, len(done) - before), len(done)
    return most


def adding(done: list[int], number: int) -> Callable[[], None]:
    return lambda: done.append(number)


async def test_what_was_added_is_done_in_order_and_in_turns() -> None:
    turns, done = Turns(), list[int]()
    for number in range(1_000):
        turns.add(adding(done, number))
    assert done == []
    assert await most_in_a_turn(done, 1_000) <= MOST
    assert done == list(range(1_000))


async def test_work_may_add_work_and_may_fail() -> None:
    turns, done = Turns(), list[int]()
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))

    def fail() -> None:
        turns.add(adding(done, 3))
        raise RuntimeError("as asked")

    turns.add(adding(done, 1))
    turns.add(fail)
    turns.add(adding(done, 2))
    await most_in_a_turn(done, 3)
    assert done == [1, 2, 3]
    assert len(reported) == 1


async def test_a_loop_over_many_lets_others_have_their_turn() -> None:
    done = list[int]()

    async def go_through() -> None:
        async for number in in_turns(range(1_000)):
            done.append(number)

    going = asyncio.create_task(go_through())
    assert await most_in_a_turn(done, 1_000) <= MOST
    await going
    assert done == list(range(1_000))


@pytest.fixture
def wheel() -> Iterator[TimerWheel]:
    wheel = TimerWheel(lambda: asyncio.get_running_loop().time())
    yield wheel
    wheel.stop()


async def test_thousands_of_deadlines_at_one_moment_come_in_turns(wheel: TimerWheel) -> None:
    done = list[int]()
    at = asyncio.get_running_loop().time() + 0.01
    for number in range(1_000):
        wheel.schedule(at, adding(done, number))
    assert await most_in_a_turn(done, 1_000) <= MOST
    assert done == list(range(1_000))


async def test_deadlines_that_take_longer_than_a_tick_of_the_wheel_do_not_come_in_larger_turns(
    wheel: TimerWheel,
) -> None:
    """Each tick finds the rest of the former ones, and must not begin a turn of its own beside theirs."""
    done = list[int]()
    at = asyncio.get_running_loop().time() + 0.01

    def work(number: int) -> Callable[[], None]:
        def do() -> None:
            real_time.sleep(0.0003)
            done.append(number)

        return do

    for number in range(500):
        wheel.schedule(at, work(number))
    assert await most_in_a_turn(done, 500) <= MOST
    assert done == list(range(500))
