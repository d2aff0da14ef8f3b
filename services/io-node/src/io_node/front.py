"""Decides which requests are for the io-node, and which are for the application that it is attached to."""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, TypeAlias

from io_node.engineio.wire.frames import CloseCode

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Front:
    """The ASGI application that the server runs.

    - HTTP requests to a path in `own_paths` go to the node's own routes.
    - HTTP requests to another path that the engine `handles` go to the engine. (WebSockets to such a path never come
      here: `EngineHttpProtocol` takes them by the same rule.)
    - All else goes to `app`, the lifespan and other WebSockets included. Without `app` the answer is 404.
    """

    def __init__(
        self,
        *,
        own_paths: Collection[str],
        routes: AsgiApp,
        handles: Callable[[str], bool],
        engine: AsgiApp,
        app: AsgiApp | None,
    ) -> None:
        self._own_paths = own_paths
        self._routes = routes
        self._handles = handles
        self._engine = engine
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path in self._own_paths:
                await self._routes(scope, receive, send)
                return
            if self._handles(path):
                await self._engine(scope, receive, send)
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
