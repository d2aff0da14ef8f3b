"""Handlers of what app-nodes say to each other (`on_server`)."""

from typing import Any

from app_node.handlers.calls import is_awaitable
from app_node.handlers.signatures import Handler

RESERVED = frozenset(("connect", "connection", "new_namespace"))
"""As Socket.IO's `serverSideEmit` refuses them."""


class NoServerHandler(Exception):
    """The application has no handler for this event."""


class ServerHandlers:
    """One handler for each event."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def register(self, event: str, handler: Handler) -> None:
        """From now on this is the event's handler. Raises ValueError for a reserved name."""
        require_free(event)
        self._handlers[event] = handler

    async def run(self, sender: str, name: Any, args: list[Any]) -> Any:
        """Calls the handler with `(sender, *args)`. Raises NoServerHandler, and what the handler raises."""
        handler = self._handlers.get(name) if isinstance(name, str) else None
        if handler is None:
            raise NoServerHandler(name)
        result = handler(sender, *args)
        return await result if is_awaitable(result) else result


def require_free(event: str) -> None:
    """Raises ValueError where this name is reserved, TypeError where it is none."""
    if not isinstance(event, str):
        raise TypeError(f"the name of an event is a str, not {type(event).__name__}")
    if event in RESERVED:
        raise ValueError(f"{event!r} is a reserved event name")
