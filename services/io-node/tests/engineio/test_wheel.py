"""Deadlines: on time, movable, and not the victims of a stall."""

import asyncio
import contextlib
import functools
import math
import time

from io_node.engineio.tick import Flusher
from io_node.engineio.wheel import Timer, TimerWheel

from .serving import until


async def test_deadlines_come_in_order_and_on_time() -> None:
    wheel = TimerWheel(time.monotonic)
    fired: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
    began = time.monotonic()

    def fire(delay_ms: int) -> None:
        fired.put_nowait((delay_ms, time.monotonic() - began))

    for delay_ms in (90, 30, 60, 0, -5):
        wheel.schedule(began + delay_ms / 1000, functools.partial(fire, delay_ms))
    got = [await asyncio.wait_for(fired.get(), 2) for _ in range(5)]
    assert {delay_ms for delay_ms, _ in got[:2]} == {0, -5}
    assert [delay_ms for delay_ms, _ in got[2:]] == [30, 60, 90]
    for delay_ms, after_s in got:
        assert after_s >= delay_ms / 1000
        assert after_s < delay_ms / 1000 + 0.1
    assert wheel._handle is None, "an idle wheel does not turn"


async def test_cancel_and_move() -> None:
    wheel = TimerWheel(time.monotonic)
    fired: asyncio.Queue[str] = asyncio.Queue()
    cancelled = wheel.schedule(time.monotonic() + 0.03, lambda: fired.put_nowait("cancelled"))
    moved = wheel.schedule(time.monotonic() + 60, lambda: fired.put_nowait("moved"))
    cancelled.cancel()
    cancelled.cancel()
    moved.set(time.monotonic() + 0.06)
    assert await asyncio.wait_for(fired.get(), 2) == "moved"
    assert fired.empty()
    assert not moved.armed


async def test_a_timer_is_brought_forward_and_never_put_off() -> None:
    wheel = TimerWheel(time.monotonic)
    fired: asyncio.Queue[float] = asyncio.Queue()
    began = time.monotonic()
    timer = Timer(wheel, lambda: fired.put_nowait(time.monotonic() - began))
    timer.set_earlier(math.inf)
    assert not timer.armed
    for delay_s in (60.0, 0.06, 0.5, math.inf):
        timer.set_earlier(began + delay_s)
    assert 0.06 <= await asyncio.wait_for(fired.get(), 2) < 0.5
    assert not timer.armed
    timer.set_earlier(time.monotonic())
    await asyncio.wait_for(fired.get(), 2)


async def test_a_timer_that_rearms_itself_does_not_loop() -> None:
    wheel = TimerWheel(time.monotonic)
    count = 0
    done = asyncio.Event()

    def again() -> None:
        nonlocal count
        count += 1
        if count == 3:
            done.set()
        else:
            timer.set(0.0)

    timer = Timer(wheel, again)
    timer.set(time.monotonic())
    await asyncio.wait_for(done.wait(), 2)
    assert count == 3


async def test_after_a_stall_the_sockets_come_first() -> None:
    now = 100.0
    wheel = TimerWheel(lambda: now)
    fired: list[str] = []
    wheel.schedule(100.5, lambda: fired.append("late"))
    now = 102.0
    wheel._run()
    assert fired == []
    now = 102.02
    wheel._run()
    assert fired == ["late"]
    wheel.stop()


async def test_a_callback_with_a_bug_costs_no_other_deadline() -> None:
    now = 100.0
    wheel = TimerWheel(lambda: now)
    fired: list[str] = []

    def bug() -> None:
        raise RuntimeError("as asked")

    wheel.schedule(100.1, bug)
    wheel.schedule(100.1, lambda: fired.append("other"))
    now = 100.13
    for _ in range(2):
        with contextlib.suppress(RuntimeError):
            wheel._run()
    assert fired == ["other"]
    wheel.stop()


async def test_it_sleeps_until_the_next_deadline() -> None:
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        return time.monotonic()

    wheel = TimerWheel(clock)
    fired = asyncio.Event()
    wheel.schedule(time.monotonic() + 60, functools.partial(print))
    wheel.schedule(time.monotonic() + 0.5, fired.set)
    await asyncio.wait_for(fired.wait(), 2)
    assert looks < 10, "it looked at the clock at each tick"
    wheel.stop()


async def test_after_a_bug_and_a_stall_it_wakes_up_soon() -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: None)
    now, wheel = [100.0], TimerWheel(time.monotonic)

    def bug() -> None:
        raise RuntimeError("as asked")

    fired = asyncio.Event()
    began = time.monotonic()
    wheel.schedule(began + 0.03, bug)
    wheel.schedule(began + 0.03, fired.set)
    await asyncio.wait_for(fired.wait(), 0.8)
    wheel.stop()
    stalled = TimerWheel(lambda: now[0])
    stalled.schedule(100.5, functools.partial(print))
    now[0] = 102.0
    stalled._run()
    assert stalled._wakes * 0.02 <= 102.04
    stalled.stop()


class Flushable:
    def __init__(self, log: list[str], name: str) -> None:
        self.log = log
        self.name = name

    def flush(self) -> None:
        self.log.append(self.name)
        if self.name == "bug":
            raise RuntimeError("as asked")


async def test_flusher_flushes_at_the_end_of_the_tick_and_survives_a_bug() -> None:
    loop = asyncio.get_running_loop()
    reported: list[object] = []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    flusher = Flusher()
    log: list[str] = []
    for name in ("a", "bug", "b"):
        flusher.add(Flushable(log, name))
    assert log == []
    await until(lambda: len(log) == 3)
    assert log == ["a", "bug", "b"]
    assert len(reported) == 1
