"""Writing for very many in turns."""

import asyncio
import time

from io_node.engineio.tick import Flusher


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


class Busy:
    """Its flush raises, and makes another connection register."""

    def __init__(self, flusher: Flusher, other: Slow) -> None:
        self._flusher = flusher
        self._other = other

    def flush(self) -> None:
        self._flusher.add(self._other)
        raise RuntimeError("as asked")


async def test_the_rest_goes_before_those_who_came_meanwhile() -> None:
    flusher, order = Flusher(), list[int]()
    loop = asyncio.get_running_loop()
    reported = []
    loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    flusher.add(Busy(flusher, Slow(order, 3)))
    for number in range(3):
        flusher.add(Slow(order, number))
    for _ in range(3):
        await asyncio.sleep(0)
    assert order == [0, 1, 2, 3]
    assert len(reported) == 1
