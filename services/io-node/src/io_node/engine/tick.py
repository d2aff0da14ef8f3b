"""One write per connection and tick."""

import asyncio
import time
from typing import Protocol

_TURN_S = 0.01
_LOOK = 64
"""Connections between two looks at the clock."""


class Flushable(Protocol):
    def flush(self) -> None: ...


class Flusher:
    """Flushes each connection that has registered, once, before the loop waits for sockets again.

    A message for very many is written in turns, between which other work goes on; each client's order is its own
    queue's, so it stays.
    """

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: list[Flushable] = []

    def add(self, connection: Flushable) -> None:
        """Flush at the end of this tick. Registering twice does no harm."""
        pending = self._pending
        if not pending:
            asyncio.get_running_loop().call_soon(self._run)
        pending.append(connection)

    def _run(self) -> None:
        pending, self._pending = self._pending, []
        rest = iter(pending)
        ends_at = time.perf_counter() + _TURN_S
        try:
            for count, connection in enumerate(rest, 1):
                connection.flush()
                if count % _LOOK == 0 and time.perf_counter() > ends_at:
                    break
        finally:
            # A flush that raises is a bug, which the loop reports. It must not cost the others their messages.
            for connection in rest:
                self.add(connection)
