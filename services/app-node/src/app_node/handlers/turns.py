"""Handlers that block for a moment each do not block the event loop together.

A handler runs in one go until it waits for something, and a plain function to its end. If hundreds begin in one turn of
the event loop, as after a pause, they may take longer than a lease lasts, although none of them takes long. So the
event loop is given back after TURN_S, and those that have not begun wait for the next turns, in order.
"""

import asyncio
from collections import deque

from app_node.clock import Clock

TURN_S = 0.1
"""For how long handlers may begin in one turn of the event loop."""

MOST = 64
"""How many of those that wait begin in one turn, at most. After a turn that took TURN_S it is one, then twice as many
each time."""


class HandlerTurns:
    """To be asked before each handler begins: `if turns.must_wait: await turns.wait()`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began: float | None = None  # when the first handler of this turn began
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._called = 0  # those that need not wait any more, and have not begun
        self._most = 1

    @property
    def must_wait(self) -> bool:
        """Whether others wait, or this turn has lasted long enough."""
        if self._waiting or self._called:
            return True
        if self._began is None:
            self._began = self._clock()
            asyncio.get_running_loop().call_soon(self._next_turn)
            return False
        return self._clock() - self._began >= TURN_S

    async def wait(self) -> None:
        """To be called right after `must_wait`. Returns when it is the caller's turn. Who came first is first."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        finally:
            if not turn.cancelled():
                self._called -= 1

    def _next_turn(self) -> None:
        now = self._clock()
        is_late = self._began is not None and now - self._began >= TURN_S
        self._most = 1 if is_late else min(MOST, 2 * self._most)
        while self._waiting and self._called < self._most:
            turn = self._waiting.popleft()
            if not turn.done():  # else it was cancelled
                turn.set_result(None)
                self._called += 1
        self._began = None
        if self._waiting or self._called:
            self._began = now
            asyncio.get_running_loop().call_soon(self._next_turn)
