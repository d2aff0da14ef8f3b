"""The event loop in which an app-node lives, which may end before the app-node is stopped."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable


class OwnEventLoop:
    """Tells whether the event loop still stands. `asyncio.run` ends in three steps:

    1. It cancels all tasks, the loops of the node too. What those tasks emit as they end, nobody here would send.
    2. It closes all asynchronous generators. One of them is ours: then `on_end` closes the connections.
    3. It closes the event loop.
    """

    def __init__(self, on_end: Callable[[], Awaitable[None]]) -> None:
        self._on_end = on_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sentinel: asyncio.Task[None] | None = None  # does nothing, so that nobody cancels it but with all others
        self._last_act: AsyncGenerator[None, None] | None = None
        self._left = False

    async def enter(self) -> None:
        """The node lives in the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._last_act = self._until_it_ends()
        await anext(self._last_act)

    async def leave(self) -> None:
        """The node was stopped. Idempotent."""
        self._left = True
        if self._last_act is not None:
            await self._last_act.aclose()

    @property
    def entered(self) -> bool:
        """Whether the node lives in an event loop."""
        return self._loop is not None and not self._left

    def require(self) -> None:
        """RuntimeError where the node lives in an event loop that is not the one that runs now."""
        if self.entered and self._loop is not asyncio.get_running_loop():
            raise RuntimeError("this server belongs to another event loop: await shutdown() before that one ends")

    @property
    def closed(self) -> bool:
        """Whether it was closed before the node was stopped: nothing of the node can run any more."""
        return self.entered and self._loop is not None and self._loop.is_closed()

    @property
    def ending(self) -> bool:
        """Whether all tasks were cancelled before the node was stopped: it sends nothing more."""
        return self.entered and self._sentinel is not None and self._sentinel.cancelling() > 0

    async def _until_it_ends(self) -> AsyncGenerator[None, None]:
        self._sentinel = asyncio.create_task(_wait(), name="sentinel")
        try:
            yield
        finally:
            self._sentinel.cancel()
            await asyncio.wait([self._sentinel])
            if not self._left:
                await self._on_end()


async def _wait() -> None:
    await asyncio.Event().wait()
