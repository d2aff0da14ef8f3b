"""For work that may go on for long without waiting: other work of the event loop gets its turn in between.

turn = Turn()
for item in items:
    take(item)
    if turn.is_over():
        await turn.next()
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

TURN_S: Final = 0.005
"""After this long other work gets its turn."""


class Turn:
    """It begins when this is made. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + TURN_S

    def is_over(self) -> bool:
        """Whether TURN_S have passed."""
        return self._clock() > self._ends_at

    async def next(self) -> None:
        """Returns in the next turn of the event loop. Whatever was ready to run has run by then."""
        await asyncio.sleep(0)
        self._ends_at = self._clock() + TURN_S
