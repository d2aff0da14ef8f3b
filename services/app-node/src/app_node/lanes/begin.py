"""Begins a task at once, where Python can (3.12 and later).

Most handlers end without waiting for anything. Begun at once, such a one needs no turn of the event loop.
"""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any


def begin(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task for this work, in a context of its own. It may have ended already. Only where an event loop runs.

    An event loop with a task factory, such as one that traces tasks, makes the task itself.
    """
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        if loop.get_task_factory() is None:
            return asyncio.Task(work, loop=loop, eager_start=True)
    return loop.create_task(work)
