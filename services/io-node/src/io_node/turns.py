"""Work for very many connections, done in turns of the event loop, so that other work goes on in between.

    turns = Turns()
    turns.add(work)                                   at the end of this turn of the loop, or of a later one
    async for connection in in_turns(connections):    the loop goes on in between
        connection.close(reason)

When thousands of clients leave at once, each costs some 40 us. In one go that would be most of a second in which nobody
is served.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, TypeVar

from sio_cluster.node.turn import TURN_S

_LOOK: Final = 16
"""How many pieces of work are done between two looks at the clock."""

_MOST: Final = 64
"""A turn does no more pieces. What follows from some is done by tasks, and the clock of the turn misses that."""

_T = TypeVar("_T")


class Turns:
    """Does what was added, in order, as long as a turn lasts. What is left comes in the next turn of the loop."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def add(self, work: Callable[[], None]) -> None:
        """Call this once, after all that was added before."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._run)
        self._waiting.append(work)

    def _run(self) -> None:
        waiting = self._waiting
        ends_at = time.perf_counter() + TURN_S
        done = 0
        try:
            while waiting:
                done += 1
                waiting[0]()
                waiting.popleft()
                if done >= _MOST or (done % _LOOK == 0 and time.perf_counter() > ends_at):
                    break
        except BaseException:
            # It is a bug, which the event loop reports. The others must have their turn anyway.
            waiting.popleft()
            raise
        finally:
            if waiting:
                asyncio.get_running_loop().call_soon(self._run)


async def in_turns(items: Iterable[_T]) -> AsyncIterator[_T]:
    """The items, in order. After some milliseconds the event loop goes on before the next one comes."""
    ends_at = time.perf_counter() + TURN_S
    for number, item in enumerate(items, 1):
        yield item
        if number % _LOOK == 0 and time.perf_counter() > ends_at:
            await asyncio.sleep(0)
            ends_at = time.perf_counter() + TURN_S
