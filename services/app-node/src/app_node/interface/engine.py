"""What python-socketio's server asks of its Engine.IO server, where there is none: connections live on io-nodes."""

import asyncio
from collections.abc import Callable
from typing import Any


class Engine:
    """Stands in for `engineio.AsyncServer`. `transport_of` knows each client's transport."""

    async_mode = "asgi"

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.transport_of: Callable[[str], str] = _unknown

    def on(self, event: str, handler: Any = None) -> None:
        """python-socketio registers itself here; nothing calls it back."""

    def transport(self, sid: str) -> str:
        return self.transport_of(sid)

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> "asyncio.Task[Any]":
        return asyncio.ensure_future(target(*args, **kwargs))

    async def sleep(self, seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    def create_queue(self, *args: Any, **kwargs: Any) -> "asyncio.Queue[Any]":
        return asyncio.Queue(*args, **kwargs)

    def get_queue_empty_exception(self) -> type[Exception]:
        return asyncio.QueueEmpty

    def create_event(self, *args: Any, **kwargs: Any) -> asyncio.Event:
        return asyncio.Event(*args, **kwargs)


def _unknown(sid: str) -> str:
    raise KeyError(sid)
