"""Decides which requests are for the io-node, and which are for the application that it is attached to."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from io_node.engineio.frames import CloseCode

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_OWN_PATHS = frozenset(("/healthz", "/readyz", "/metrics"))


class Front:
    """The ASGI application that the server runs.

    - Requests to SOCKETIO_PATH go to the engine.
    - Requests below SOCKETIO_PATH, and to /healthz, /readyz and /metrics, go to the node's own routes.
    - All else goes to `app`, the lifespan and other WebSockets included. Without `app` the answer is 404.
    """

    def __init__(self, path: str, *, engine: AsgiApp, routes: AsgiApp, app: AsgiApp | None) -> None:
        self._engine = engine
        self._routes = routes
        self._app = app
        self._engine_paths = frozenset((path, f"{path}/"))
        self._below = f"{path}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path in self._engine_paths:
                await self._engine(scope, receive, send)
                return
            if path in _OWN_PATHS or path.startswith(self._below):
                await self._routes(scope, receive, send)
                return
        if self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._routes(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": CloseCode.POLICY_VIOLATION})
        else:
            await _no_lifespan(receive, send)


async def _no_lifespan(receive: Receive, send: Send) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
