"""What the parts of the Admin UI need of the server object."""

from collections.abc import Callable
from typing import Any, Protocol

from app_node.app import AppNode


class Server(Protocol):
    """The server object, as the Admin UI sees it."""

    handlers: dict[str, dict[Any, Callable[..., Any]]]
    namespace_handlers: dict[str, Any]

    @property
    def node(self) -> AppNode: ...

    def on(self, event: str, handler: Callable[..., Any], namespace: str) -> None: ...

    async def emit(
        self, event: str, data: Any = None, to: Any = None, *, namespace: str | None = None, volatile: bool = False
    ) -> None: ...

    async def get_session(self, sid: str, namespace: str | None = None) -> Any: ...

    async def save_session(self, sid: str, session: Any, namespace: str | None = None) -> None: ...

    async def disconnect(self, sid: str, namespace: str | None = None) -> None: ...

    async def enter_rooms(self, rooms: Any, room: Any = None, *, namespace: str | None = None) -> None: ...

    async def leave_rooms(self, rooms: Any, room: Any = None, *, namespace: str | None = None) -> None: ...

    async def disconnect_room(self, room: Any, close: bool = False, *, namespace: str | None = None) -> None: ...

    def start_background_task(self, target: Callable[..., Any], *args: Any) -> Any: ...


def namespaces_of(server: Server) -> list[str]:
    """The namespaces with handlers of their own, and "/"."""
    return sorted({"/", *server.handlers, *server.namespace_handlers} - {"*"})


MOST_NAMESPACES = 100
"""So many the page hears of."""
