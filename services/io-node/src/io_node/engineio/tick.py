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
    """Flushes each connection that has registered, at the end of the tick.

    A message for very many takes several ticks, between which other work goes on. Those who registered meanwhile come
    behind the rest; each client's order is its own queue's, so it stays.
    """

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: list[Flushable] = []

    def add(self, connection: Flushable) -> None:
        """Flush in its turn. Registering twice does no harm."""
        pending = self._pending
        if not pending:
            asyncio.get_running_loop().call_soon(self._run)
        pending.append(connection)

    def _run(self) -> None:
        pending, self._pending = self._pending, []
        ends_at = time.perf_counter() + _TURN_S
        done = 0
        try:
            for connection in pending:
                done += 1
                connection.flush()
                if done % _LOOK == 0 and time.perf_counter() > ends_at:
                    break
        finally:
            # A flush that raises is a bug, which the loop reports. It must not cost the others their messages.
            if done < len(pending):
                if not self._pending:
                    asyncio.get_running_loop().call_soon(self._run)
                self._pending[:0] = pending[done:]
