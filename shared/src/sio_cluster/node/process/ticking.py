"""The little that an HTTP server does while nobody asks it anything.

uvicorn looks ten times a second whether it should exit. That was two in five of the times that an idle io-node woke up.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from sio_cluster.node.rest import left_s

PAUSE_S = 1.0
"""The time from one tick to the next. The header `date` has whole seconds."""


async def tick(once: Callable[[], Awaitable[bool]], ended: asyncio.Event) -> None:
    """Calls `once` each `PAUSE_S`, and as soon as `ended` is set, until it returns True, which it then has to."""
    while not await once():
        with suppress(TimeoutError):
            async with asyncio.timeout(left_s(PAUSE_S)):
                await ended.wait()
