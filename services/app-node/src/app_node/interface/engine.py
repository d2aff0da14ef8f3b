"""A stand-in for the Engine.IO server that python-socketio's server asks for: the connections are on io-nodes."""

import asyncio
from typing import Any


class Engine:
    """The part of `engineio.AsyncServer` that is still asked for."""

    async_mode = "asgi"

    def __init__(self, **options: Any) -> None:
        self.options = options
        self._background_tasks: set[asyncio.Task[Any]] = set()

    def on(self, event: str, handler: Any = None) -> None:
        """python-socketio registers its methods here. Nothing calls them."""

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> "asyncio.Task[Any]":
        """Holds the task until it ends: the event loop alone does not keep it from the garbage collector."""
        task: asyncio.Task[Any] = asyncio.ensure_future(target(*args, **kwargs))
        self._background_tasks.add(task)
        task.add_done_callback(self._background_tasks.discard)
        return task

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    def create_event(self, *args: Any, **kwargs: Any) -> asyncio.Event:
        return asyncio.Event(*args, **kwargs)
