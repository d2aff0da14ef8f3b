"""Many handlers that block for a moment each: they take turns, and keep their order."""

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from app_node.handlers.turns import TURN_S, HandlerTurns
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Ack
from sio_cluster.streams.memory import MemoryBroker, MemoryBus


class Loop:
    """Handlers that take `cost_s` each, by a clock that only they move. `turns` are those of the event loop."""

    def __init__(self, cost_s: float) -> None:
        self.now = 0.0
        self.turns: list[list[int]] = []
        self._cost_s = cost_s
        self._handler_turns = HandlerTurns(lambda: self.now)

    async def count(self) -> None:
        while True:
            self.turns.append([])
            await asyncio.sleep(0)

    async def handler(self, number: int) -> None:
        if self._handler_turns.must_wait:
            await self._handler_turns.wait()
        self.turns[-1].append(number)
        self.now += self._cost_s

    async def run(self, number: int) -> list[int]:
        """Begins so many at once. Returns how many of them ran in each turn."""
        counting = asyncio.create_task(self.count())
        await asyncio.gather(*[self.handler(n) for n in range(number)])
        counting.cancel()
        assert [n for turn in self.turns for n in turn] == list(range(number))
        return [len(turn) for turn in self.turns if turn]


async def test_quick_handlers_run_in_one_turn() -> None:
    assert await Loop(TURN_S / 10_000).run(1_000) == [1_000]


async def test_slow_handlers_run_alone() -> None:
    assert await Loop(2 * TURN_S).run(5) == [1] * 5


async def test_a_turn_ends_in_time_and_then_they_quicken_again() -> None:
    turns = await Loop(TURN_S / 50).run(300)
    assert turns[:2] == [50, 1]
    assert max(turns) <= 64
    assert len(turns) < 20


async def test_one_that_comes_meanwhile_is_behind_those_that_wait() -> None:
    now = 0.0
    turns = HandlerTurns(lambda: now)
    begun: list[str] = []

    async def handler(name: str) -> None:
        nonlocal now
        if turns.must_wait:
            await turns.wait()
        begun.append(name)
        now += TURN_S

    handlers = [asyncio.create_task(handler(name)) for name in "abc"]
    while len(begun) < 3:
        await asyncio.sleep(0)
        handlers.append(asyncio.create_task(handler("late")))
    await asyncio.gather(*handlers)
    assert begun[:3] == ["a", "b", "c"]
    assert not turns.must_wait


async def test_those_that_are_cancelled_keep_nobody_waiting() -> None:
    now = 0.0
    turns = HandlerTurns(lambda: now)
    begun: list[int] = []

    async def handler(number: int) -> None:
        nonlocal now
        if turns.must_wait:
            await turns.wait()
        begun.append(number)
        now += TURN_S

    handlers = [asyncio.create_task(handler(number)) for number in range(5)]
    await asyncio.sleep(0)
    assert begun == [0]
    for cancelled in (1, 2):  # one whose turn has come, and one who waits
        handlers[cancelled].cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*handlers, return_exceptions=True)
    assert begun == [0, 3, 4]
    assert not turns.must_wait


@pytest.mark.slow
@pytest.mark.parametrize("async_handlers", [True, False])
async def test_a_backlog_of_slow_functions_costs_no_lane(make_stage: Any, async_handlers: bool) -> None:
    """All of it takes longer than a lease. Each event is handled once, in order, and then the disconnect."""
    broker = MemoryBroker()
    config = Config(lanes=4, lease_ms=2_000, heartbeat_ms=200, node_timeout_ms=4_000, shutdown_ms=1_500)
    stage = make_stage(config, lambda config: MemoryBus(config, broker), broker)
    io, runs = await stage.io_node(), Counter[str]()
    order: list[Any] = []

    def app() -> Any:
        sio = stage.server(async_handlers=async_handlers)
        sio.on("connect", lambda sid, environ: None)

        @sio.event
        def work(sid: str, number: int) -> int:
            order.append((sid, number))
            time.sleep(0.025)
            return number

        @sio.event
        def disconnect(sid: str, reason: str) -> None:
            order.append((sid, "left"))

        return sio

    first, second = app(), app()
    await first.start()
    sids = [await io.connect() for _ in range(4)]
    await first.shutdown()
    for number in range(25):
        await io.send(*[stage.event(sid, "work", number, ack_id=number) for sid in sids])
    for sid in sids:
        await io.disconnect(sid)
    await second.start()
    await io.wait(100, Ack)
    await io.settle()
    runs.update(str(what) for what in order)
    assert set(runs.values()) == {1}
    assert second.node.counters.lanes_lost == 0
    for sid in sids:
        assert [what for of, what in order if of == sid] == [*range(25), "left"]
    await stage.stop()
