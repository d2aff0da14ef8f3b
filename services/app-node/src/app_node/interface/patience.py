"""How long somebody waits for Redis who cannot wait for ever: an HTTP request, a task of a worker, a script."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from sio_cluster.protocol.errors import BusUnavailable

MAX_LEFT = 1_000
"""How many operations may go on without anybody who waits. At this limit further ones are refused at once."""

_T = TypeVar("_T")


class Patience:
    """Waits a bounded time, and knows what to do with an operation that takes longer."""

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._left: set[asyncio.Task[Any]] = set()

    async def or_take_back(self, operation: Coroutine[Any, Any, _T], longer_s: float = 0) -> _T:
        """What this returns. Cancels it after the time, or `longer_s` later: an emit that has not left is taken back.

        Raises BusUnavailable. Then an emit that had left already may still arrive.
        """
        try:
            async with asyncio.timeout(self._wait_s + longer_s):
                return await operation
        except TimeoutError:
            raise self._unavailable() from None

    async def or_let_go_on(self, operation: Coroutine[Any, Any, _T]) -> _T:
        """What this returns. After the time it goes on by itself: half of it, such as a record, may be in Redis.

        Raises BusUnavailable. Then all of it happens when Redis is back, unless this process ends first.
        """
        if len(self._left) >= MAX_LEFT:
            operation.close()
            raise BusUnavailable(f"{MAX_LEFT} operations wait for Redis already: nothing was done")
        task = asyncio.ensure_future(operation)
        try:
            await asyncio.wait([task], timeout=self._wait_s)
        finally:
            if not task.done():
                self._left.add(task)
                task.add_done_callback(self._ended)
        if not task.done():
            raise self._unavailable()
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it

    def _unavailable(self) -> BusUnavailable:
        return BusUnavailable(f"Redis has not answered within {self._wait_s:g} s: nobody knows what has happened")
