"""The start of an app-node, which a stop may cut off."""

import asyncio
from collections.abc import Awaitable, Callable

STOPPED = "this app-node was stopped before it had started"


class Start:
    """Made once, however often it is asked for. Once it was cut off, it is never made."""

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._limit: asyncio.Timeout | None = None  # while `begin` runs
        self._made = False
        self._cut = False
        self._idle = asyncio.Event()  # not set while `begin` runs
        self._idle.set()

    async def once(self, before: Callable[[], Awaitable[None]], begin: Callable[[], Awaitable[None]]) -> None:
        """`before`, then `begin`, where no call before this one came to their end.

        Raises what these raise. Raises RuntimeError where it was cut off.
        """
        async with self._making:
            self._require()
            if self._made:
                return
            await before()
            self._require()
            await self._run(begin)
            self._made = True

    async def cut_off(self) -> None:
        """Cancels `begin`, and returns when it has ended. Does not wait for `before`, which may be what calls this."""
        self._cut = True
        if self._limit is not None:
            self._limit.reschedule(0)
        await self._idle.wait()

    def _require(self) -> None:
        if self._cut:
            raise RuntimeError(STOPPED)

    async def _run(self, begin: Callable[[], Awaitable[None]]) -> None:
        self._idle.clear()
        try:
            async with asyncio.timeout(None) as self._limit:
                await begin()
        except TimeoutError:
            if self._cut:
                raise RuntimeError(STOPPED) from None
            raise
        finally:
            self._limit = None
            self._idle.set()
