"""Gathers what is sent in one turn of the event loop, so that each connection writes once."""

import asyncio
import time
from typing import Protocol

from sio_cluster.node.turn import TURN_S

_LOOK = 32
"""How many connections are flushed between two looks at the clock."""


class Flushable(Protocol):
    def flush(self) -> None: ...


class Flusher:
    """Flushes each connection that was added, at the end of the tick.

    A message for very many connections takes several ticks, and other work goes on in between. Connections that are
    added meanwhile come last. The order of one client's messages is that of its own queue, so it does not change.
    """

    __slots__ = ("_pending",)

    def __init__(self) -> None:
        self._pending: list[Flushable] = []

    def add(self, connection: Flushable) -> None:
        """Flush this connection at the end of the tick. Adding it twice does no harm."""
        pending = self._pending
        if not pending:
            asyncio.get_running_loop().call_soon(self._run)
        pending.append(connection)

    def _run(self) -> None:
        pending, self._pending = self._pending, []
        ends_at = time.perf_counter() + TURN_S
        done = 0
        try:
            for connection in pending:
                done += 1
                connection.flush()
                if done % _LOOK == 0 and time.perf_counter() > ends_at:
                    break
        finally:
            # A flush that raises is a bug, which the event loop reports. The others must get their messages anyway.
            if done < len(pending):
                if not self._pending:
                    asyncio.get_running_loop().call_soon(self._run)
                self._pending[:0] = pending[done:]
