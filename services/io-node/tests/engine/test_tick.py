"""Writing for very many in turns."""

import asyncio
import time

from io_node.engine.tick import Flusher


class Slow:
    def __init__(self, order: list[int], number: int) -> None:
        self._order = order
        self._number = number

    def flush(self) -> None:
        until = time.perf_counter() + 0.0002
        while time.perf_counter() < until:
            pass
        self._order.append(self._number)


async def test_a_long_flush_leaves_others_their_turn_and_keeps_the_order() -> None:
    flusher, order = Flusher(), list[int]()
    for number in range(300):  # 60 ms of work
        flusher.add(Slow(order, number))
    turns: list[int] = []
    async with asyncio.timeout(5):
        while len(order) < 300:
            await asyncio.sleep(0)
            turns.append(len(order))
    assert order == list(range(300))
    assert len([count for count in turns if 0 < count < 300]) >= 2
