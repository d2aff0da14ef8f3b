"""The server object of an application: python-socketio's `AsyncServer`, with its connections elsewhere.

The only module that imports socketio. Everything public has the signature and the meaning of python-socketio's; what
differs is said in the docstrings.
"""

import asyncio
import signal
import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

import socketio
from socketio import exceptions
from socketio.async_namespace import AsyncNamespace

from app_node.app import AppNode, StreamsFactory
from app_node.clients.client import Environs, State
from app_node.clients.session_codec import decode_session, encode_session
from app_node.handlers.application import Application
from app_node.handlers.signatures import Handler, run
from app_node.health import health_app, serving
from app_node.interface.engine import Engine
from app_node.interface.manager import ClusterManager
from app_node.lanes.lane import Clock, steady
from app_node.lanes.progress import current_scope
from app_node.metrics import metrics_of
from app_node.streams import redis_streams
from sio_cluster.node.config import Config
from sio_cluster.node.log import configure_logging_of_guest

ENGINE_OPTIONS = frozenset(
    (
        "async_mode", "ping_interval", "ping_timeout", "max_http_buffer_size", "max_decode_packets", "allow_upgrades",
        "http_compression", "compression_threshold", "cookie", "cors_allowed_origins", "cors_credentials",
        "monitor_clients", "transports", "engineio_logger",
    )
)  # fmt: skip
_SETTINGS_OF_OPTIONS = {
    "ping_interval": "PING_INTERVAL_MS",
    "ping_timeout": "PING_TIMEOUT_MS",
    "max_http_buffer_size": "MAX_PAYLOAD_BYTES",
    "allow_upgrades": "ALLOW_UPGRADES",
    "cors_allowed_origins": "CORS_ALLOWED_ORIGINS",
    "cors_credentials": "CORS_CREDENTIALS",
    "transports": "TRANSPORTS",
}
"""What a setting of the io-nodes does now. The other Engine.IO options have no counterpart."""

SERVER_OPTIONS = frozenset(("logger", "json", "async_handlers", "always_connect", "namespaces", "serializer"))


def get_client(config: Config | Mapping[str, Any] | None = None, **python_socketio_options: Any) -> "ClusterServer":
    """The server object of an app-node. Does no IO: it connects with its first command, or with `start`.

    Takes the options of `socketio.AsyncServer`; those of Engine.IO warn that they belong to the io-nodes. Raises
    ConfigError for a wrong setting, TypeError for an unknown option.
    """
    return ClusterServer(config, **python_socketio_options)


class ClusterServer(socketio.AsyncServer):  # type: ignore[misc]  # socketio has no types
    """An `AsyncServer` whose clients are connected to io-nodes."""

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        streams: StreamsFactory = redis_streams,
        clock: Clock = steady,
        **options: Any,
    ) -> None:
        self.config = config if isinstance(config, Config) else Config(config)
        configure_logging_of_guest(self.config)
        self._streams = streams
        self._clock = clock
        self._node: AppNode | None = None
        self._start_handlers: list[Handler] = []
        super().__init__(client_manager=ClusterManager(), **_checked(options))
        self.application = Application(
            self, exceptions.ConnectionRefusedError, AsyncNamespace.trigger_event, options.get("json")
        )
        self.eio.transport_of = self._transport_of

    @property
    def node(self) -> AppNode:
        """This life of the app-node; a new one after `shutdown`."""
        if self._node is None:
            self._node = AppNode(
                self.config,
                self.application,
                async_handlers=self.async_handlers,
                always_connect=self.always_connect,
                streams=self._streams,
                clock=self._clock,
            )
            self.environ = Environs(self._node.clients)
        return self._node

    # --- life cycle: not in python-socketio

    def on_start(self, handler: Handler) -> Handler:
        """Decorator: `handler()` runs each time this app-node starts, before its first event.

        The place for `start_background_task`: a task that a `connect` handler starts is not started again for clients
        that are already there. Each app-node runs it; what it raises ends the start.
        """
        self._start_handlers.append(handler)
        return handler

    async def start(self) -> None:
        """Becomes an app-node: takes lanes and runs handlers. Raises ClusterMismatch; waits for Redis."""
        for handler in self._start_handlers:
            await run(handler, ())
        await self.node.start()

    async def serve(self) -> None:
        """Runs as an app-node until SIGTERM, SIGINT or `shutdown`, then stops cleanly."""
        loop = asyncio.get_running_loop()
        stopping: asyncio.Event = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        starting = asyncio.ensure_future(self.start())
        over = asyncio.ensure_future(self.node.over.wait())
        stop = asyncio.ensure_future(stopping.wait())
        node = self.node
        health = health_app(lambda: node.failure is None, lambda: node.is_ready, lambda: metrics_of(node))
        try:
            async with serving(health, self.config.http_host, self.config.health_port):
                await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
                if starting.done():
                    starting.result()
                    await asyncio.wait((over, stop), return_when=asyncio.FIRST_COMPLETED)
            if node.failure is not None:
                raise node.failure
        finally:
            for task in (starting, over, stop):
                task.cancel()
            await self.shutdown()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    async def __aenter__(self) -> "ClusterServer":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.shutdown()

    async def shutdown(self) -> None:
        """Stops cleanly: handlers end (within SHUTDOWN_MS), their output is in Redis, lanes are handed over.

        Clients stay connected. The object can be used again; it is then a new app-node.
        """
        node = self._node
        if node is None:
            return
        try:
            await node.stop()  # it is still this server's: handlers that end now emit through it
        finally:
            if self._node is node:
                self._node = None

    # --- clients

    async def get_session(self, sid: str, namespace: str | None = None) -> Any:
        """As in python-socketio; it lives in Redis and outlasts app-nodes. KeyError for a client that is gone."""
        client = self.node.clients.present(sid, namespace or "/")
        if client is not None and client.session is not None:
            return client.session
        await self.node.open()
        stored = await self.node.load_session(sid)
        if stored is None and client is None and await self.node.load(sid) is None:
            raise KeyError("Session not found")
        session = {} if stored is None else decode_session(stored)
        if client is None:
            return session
        if client.session is None:  # somebody else may have loaded it meanwhile: all share one object
            client.session = session
        return client.session

    async def save_session(self, sid: str, session: Any, namespace: str | None = None) -> None:
        """As in python-socketio. Holds what JSON knows, and bytes: TypeError for other types."""
        client = self.node.clients.present(sid, namespace or "/")
        data = encode_session(session)
        await self.node.open()
        if client is None:
            saved = await self.node.save_session(sid, data)
        else:
            client.session = session
            if client.session_lock is None:
                client.session_lock = asyncio.Lock()
            async with client.session_lock:  # writes of one client stay in order; the latest wins
                saved = await self.node.save_session(sid, encode_session(client.session))
        if not saved and (client is None or client.state is not State.GONE):
            raise KeyError("Session not found")

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """As in python-socketio, for any client of the cluster. The `disconnect` handler of a client whose lane another
        app-node holds runs there."""
        namespace = namespace or "/"
        if await self.manager.can_disconnect(sid, namespace):
            await self.manager.disconnect(sid, namespace)

    async def close_connection(self, sid: str, namespace: str | None = None) -> None:
        """Closes the whole connection of this client: every namespace on it. Not in python-socketio."""
        await self.manager.close_connection(sid)

    def is_redelivered(self) -> bool:
        """Whether the running handler may have run before, in part or in whole, on an app-node that died."""
        scope = current_scope.get()
        return scope is not None and scope.redelivered

    def start_background_task(self, target: Any, *args: Any, **kwargs: Any) -> "asyncio.Task[Any]":
        """As in python-socketio. The task is no part of the handler that started it."""
        token = current_scope.set(None)
        try:
            task: asyncio.Task[Any] = super().start_background_task(target, *args, **kwargs)
        finally:
            current_scope.reset(token)
        return task

    # --- what lives elsewhere

    def attach(self, app: Any, socketio_path: str = "socket.io") -> NoReturn:
        raise RuntimeError("an app-node serves no HTTP: attach the io-node to your web application by io_node.listen")

    async def handle_request(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("an app-node serves no HTTP: clients connect to an io-node, see io_node.listen")

    def instrument(
        self,
        auth: Any = None,
        mode: str = "development",
        read_only: bool = False,
        server_id: str | None = None,
        namespace: str = "/admin",
        server_stats_interval: int = 2,
    ) -> NoReturn:
        raise RuntimeError("the Socket.IO Admin UI needs the server that holds the connections: not in a cluster")

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    def _transport_of(self, sid: str) -> str:
        client = self.node.clients.get(sid)
        if client is None:
            raise KeyError(sid)
        return client.transport


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options for python-socketio. Those that mean nothing here warn or raise."""
    if "client_manager" in options:
        raise TypeError("client_manager: a cluster needs none, and reaches all clients without it; leave it out")
    if options.get("serializer", "default") != "default":
        raise TypeError("serializer: the cluster speaks Socket.IO's default protocol only")
    unknown = options.keys() - SERVER_OPTIONS - ENGINE_OPTIONS
    if unknown:
        raise TypeError(f"unknown option {', '.join(sorted(unknown))}")
    for name in sorted(options.keys() & ENGINE_OPTIONS):
        setting = _SETTINGS_OF_OPTIONS.get(name)
        instead = f"give the io-nodes {setting}" if setting else "it can go"
        warnings.warn(f"{name} has no effect on an app-node: {instead}", stacklevel=4)
    return {name: value for name, value in options.items() if name in SERVER_OPTIONS}
