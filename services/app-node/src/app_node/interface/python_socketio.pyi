"""The types of what is used of python-socketio 5."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar, overload

from app_node.interface.rooms import Rooms, Sids

_H = TypeVar("_H", bound=Callable[..., Any])
_T = TypeVar("_T")

class AsyncServer:
    async_mode: str
    logger: Any
    manager_initialized: bool
    packet_class: Any
    reason: Any
    reserved_events: list[str]
    async_handlers: bool
    always_connect: bool
    namespaces: Any
    not_handled: object
    handlers: dict[str, dict[Any, Callable[..., Any]]]
    namespace_handlers: dict[str, Any]
    environ: Mapping[str, Mapping[str, Any]]
    eio: Any
    manager: Any

    def __init__(self, client_manager: Any = ..., **options: Any) -> None: ...
    def _get_event_handler(self, event: Any, namespace: str, args: Any) -> Any: ...
    def _get_namespace_handler(self, namespace: str, args: Any) -> Any: ...
    def is_asyncio_based(self) -> bool: ...
    @overload
    def on(self, event: str, handler: None = None, namespace: str | None = None) -> Callable[[_H], _H]: ...
    @overload
    def on(self, event: str, handler: _H, namespace: str | None = None) -> None: ...
    @overload
    def event(self, handler: _H, /) -> _H: ...
    @overload
    def event(self, *, namespace: str | None = None) -> Callable[[_H], _H]: ...
    def register_namespace(self, namespace_handler: AsyncNamespace) -> None: ...
    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Rooms | None = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None: ...
    async def send(
        self,
        data: Any,
        to: Rooms | None = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None: ...
    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float = 60,
        ignore_queue: bool = False,
    ) -> Any: ...
    async def enter_room(self, sid: str, room: str | int, namespace: str | None = None) -> None: ...
    async def leave_room(self, sid: str, room: str | int, namespace: str | None = None) -> None: ...
    async def close_room(self, room: str | int, namespace: str | None = None) -> None: ...
    def rooms(self, sid: str, namespace: str | None = None) -> list[str | int]: ...
    def transport(self, sid: str, namespace: str | None = None) -> str: ...
    def get_environ(self, sid: str, namespace: str | None = None) -> Mapping[str, Any] | None: ...
    async def get_session(self, sid: str, namespace: str | None = None) -> Any: ...
    async def save_session(self, sid: str, session: Any, namespace: str | None = None) -> None: ...
    def session(self, sid: str, namespace: str | None = None) -> AbstractAsyncContextManager[dict[str, Any]]: ...
    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None: ...
    async def shutdown(self) -> None: ...
    def start_background_task(
        self, target: Callable[..., Awaitable[_T]], *args: Any, **kwargs: Any
    ) -> asyncio.Task[_T]: ...
    async def sleep(self, seconds: float = 0) -> None: ...
    async def handle_request(self, *args: Any, **kwargs: Any) -> Any: ...
    def attach(self, app: Any, socketio_path: str = "socket.io") -> None: ...
    def instrument(
        self,
        auth: Any = None,
        mode: str = "development",
        read_only: bool = False,
        server_id: str | None = None,
        namespace: str = "/admin",
        server_stats_interval: float = 2,
    ) -> Any: ...

class AsyncNamespace:
    namespace: str
    server: Any

    def __init__(self, namespace: str | None = None) -> None: ...
    def is_asyncio_based(self) -> bool: ...
    async def trigger_event(self, event: str, *args: Any) -> Any: ...
    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Rooms | None = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None: ...
    async def send(
        self,
        data: Any,
        to: Rooms | None = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
    ) -> None: ...
    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,
        ignore_queue: bool = False,
    ) -> Any: ...
    async def enter_room(self, sid: str, room: str | int, namespace: str | None = None) -> None: ...
    async def leave_room(self, sid: str, room: str | int, namespace: str | None = None) -> None: ...
    async def close_room(self, room: str | int, namespace: str | None = None) -> None: ...
    def rooms(self, sid: str, namespace: str | None = None) -> list[str | int]: ...
    async def get_session(self, sid: str, namespace: str | None = None) -> Any: ...
    async def save_session(self, sid: str, session: Any, namespace: str | None = None) -> None: ...
    def session(self, sid: str, namespace: str | None = None) -> AbstractAsyncContextManager[dict[str, Any]]: ...
    async def disconnect(self, sid: str, namespace: str | None = None) -> None: ...
