"""One write per connection and tick."""

import asyncio
from typing import Protocol


class Flushable(Protocol):
    def flush(self) -> None: ...


class Flusher:
    """Flushes each connection that has registered, once, before the loop waits for sockets again."""

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
        try:
            for connection in rest:
                connection.flush()
        finally:
            # A flush that raises is a bug, which the loop reports. It must not cost the others their messages.
            for connection in rest:
                self.add(connection)
