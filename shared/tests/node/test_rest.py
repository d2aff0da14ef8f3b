"""Pauses that end together, on a clock that the test steps."""

import asyncio
import gc
import weakref
from collections.abc import Coroutine, Iterator
from itertools import pairwise
from typing import Any

import pytest

from sio_cluster.node.rest import STEP_S, rest
from sio_cluster.testing.simulation.clock import SteppedLoop, VirtualClock


class Machine:
    """One event loop, and how often it woke up."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.process = SteppedLoop(self.clock)
        self.wakes: list[float] = []

    def start(self, loop: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = self.process.loop.create_task(loop)
        self.process.turn()
        return task

    def pass_time(self, seconds: float) -> None:
        ends_at = self.clock.now + seconds
        while self.process.due_at is not None and self.process.due_at <= ends_at:
            self.clock.now = max(self.clock.now, self.process.due_at)
            self.wakes.append(round(self.clock.now - 1000, 3))
            self.process.turn()
        self.clock.now = ends_at


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.process.close()


async def forever(pause_s: float, work_s: float = 0.0) -> None:
    while True:
        await rest(pause_s)
        if work_s:
            await asyncio.sleep(work_s)


def test_whoever_rests_wakes_up_together(machine: Machine) -> None:
    for pause_s in (1.0, 0.5, 0.25):
        machine.start(forever(pause_s))
        machine.pass_time(0.1)
    machine.start(forever(1.0))
    machine.wakes.clear()
    machine.pass_time(2.0)
    assert machine.wakes == [0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.25]


def test_a_loop_comes_round_in_its_pause_whatever_its_work_takes(machine: Machine) -> None:
    machine.start(forever(1.0, work_s=0.3))
    machine.pass_time(5.0)
    assert [wake for wake in machine.wakes if wake % 1 == 0] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_work_that_takes_longer_than_the_pause_leaves_out_a_turn(machine: Machine) -> None:
    machine.start(forever(0.5, work_s=0.6))
    machine.pass_time(3.0)
    assert [wake for wake in machine.wakes if wake % 0.5 == 0] == [0.5, 1.5, 2.5]


def test_how_long_it_was_to_last(machine: Machine) -> None:
    machine.start(forever(0.25))
    machine.pass_time(0.6)
    resting = machine.start(rest(1.0))
    machine.pass_time(1.0)
    assert round(resting.result(), 6) == 0.4


@pytest.mark.parametrize("pause_s", [0.0, 0.01, 0.1, 0.3, 1.1])
def test_another_pause_is_an_ordinary_sleep(machine: Machine, pause_s: float) -> None:
    machine.start(forever(1.0))
    machine.pass_time(0.6)
    resting = machine.start(rest(pause_s))
    machine.pass_time(pause_s - 0.005)
    assert resting.done() is (pause_s == 0.0)
    machine.pass_time(0.005)
    assert resting.result() == pause_s


def test_one_that_is_cancelled_keeps_nobody_from_waking_up(machine: Machine) -> None:
    cancelled, other = machine.start(rest(1.0)), machine.start(rest(1.0))
    cancelled.cancel()
    machine.pass_time(1.0)
    assert (cancelled.cancelled(), other.done()) == (True, True)


def test_a_process_that_was_paused_goes_on_in_step(machine: Machine) -> None:
    machine.start(forever(STEP_S))
    machine.clock.now += 10.1
    machine.wakes.clear()
    machine.pass_time(0.5)
    assert machine.wakes == [10.1, 10.25, 10.5]


def test_an_event_loop_that_has_closed_is_forgotten() -> None:
    """A program may run one after the other, and each may close while somebody rests."""

    async def begin() -> "weakref.ref[asyncio.AbstractEventLoop]":
        resting = asyncio.create_task(rest(STEP_S))
        await asyncio.sleep(0)
        assert not resting.done()
        return weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(begin())
    asyncio.run(begin())
    gc.collect()
    assert first() is None


async def test_on_the_event_loop_of_nodes_it_does_not_end_twice() -> None:
    """Its timers have a resolution of 1 ms, so they may be early."""
    loop = asyncio.get_running_loop()
    times = []
    for _ in range(4):
        await rest(STEP_S)
        times.append(loop.time())
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap > STEP_S / 2 for gap in gaps)
