"""How long the event loop is held up, as tests measure it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def turns() -> AsyncIterator[list[float]]:
    """How long the turns of the loop take meanwhile, in seconds of this thread's CPU time: others may have the core."""
    found: list[float] = []

    async def watch() -> None:
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            found.append(time.thread_time() - began)

    watching = asyncio.create_task(watch())
    yield found
    watching.cancel()
