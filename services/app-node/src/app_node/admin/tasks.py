"""Does what administrators ask: emit, join, leave and disconnect, for all clients of a namespace or of a room, wherever
they are. A sid is a room too."""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from app_node.admin.server import Server
from sio_cluster.protocol.errors import NodesTooOld

log = structlog.get_logger()

FEATURES = ("EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT")
"""As the page names what this module can do; with an M: for many clients at once."""


class Tasks:
    """The handlers of the admin namespace. What makes no sense is logged, and nothing happens."""

    def __init__(self, server: Server, namespace: str) -> None:
        self._server = server
        self._namespace = namespace

    def register(self) -> None:
        """From now on administrators can ask."""
        for event, handler in (
            ("emit", self.emit),
            ("join", self.join),
            ("leave", self.leave),
            ("_disconnect", self.disconnect),
        ):
            self._server.on(event, handler, self._namespace)

    async def emit(self, sid: str, namespace: Any = None, to: Any = None, event: Any = None, *args: Any) -> None:
        server = self._server
        await self._do(sid, "emit", (namespace, event), lambda: server.emit(event, args, to, namespace=namespace))

    async def join(self, sid: str, namespace: Any = None, room: Any = None, who: Any = None, *_: Any) -> None:
        server = self._server
        await self._do(sid, "join", (namespace,), lambda: server.enter_rooms(room, who, namespace=namespace))

    async def leave(self, sid: str, namespace: Any = None, room: Any = None, who: Any = None, *_: Any) -> None:
        server = self._server
        await self._do(sid, "leave", (namespace,), lambda: server.leave_rooms(room, who, namespace=namespace))

    async def disconnect(self, sid: str, namespace: Any = None, close: Any = None, who: Any = None, *_: Any) -> None:
        server, whole = self._server, bool(close)
        await self._do(sid, "disconnect", (namespace,), lambda: server.disconnect_room(who, whole, namespace=namespace))

    async def _do(self, sid: str, task: str, texts: tuple[Any, ...], work: Callable[[], Awaitable[None]]) -> None:
        """`texts`: arguments that must be text."""
        if not all(isinstance(text, str) for text in texts):
            log.warning("admin_task_refused", sid=sid, task=task, why="malformed")
            return
        log.info("admin_task", sid=sid, task=task, namespace=texts[0])
        try:
            await work()
        except (TypeError, ValueError, NodesTooOld) as error:  # such as a sid for a room to join
            log.warning("admin_task_refused", sid=sid, task=task, why=str(error))
