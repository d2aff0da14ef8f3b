"""The server object of an application: python-socketio's `AsyncServer`, with its connections on io-nodes.

Whatever is public has the signature and the meaning that it has in python-socketio. Docstrings say what differs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any, NoReturn, TypeVar, overload

from socketio import exceptions

from app_node.admin.console import Console
from app_node.app import AppNode, BusFactory
from app_node.clients.session_codec import encode_session
from app_node.clock import Clock, steady
from app_node.downlink.held import held_output, nothing_held
from app_node.handlers.application import Application
from app_node.handlers.calls import run
from app_node.handlers.signatures import Handler
from app_node.interface import serving
from app_node.interface.asking import Asking
from app_node.interface.engine import Engine
from app_node.interface.environs import Environs
from app_node.interface.manager import ClusterManager
from app_node.interface.options import checked_options
from app_node.interface.peers import AppNodeEvents
from app_node.interface.presence import ServerPresence
from app_node.interface.python_socketio import AsyncNamespace, AsyncServer
from app_node.interface.queries import Queries
from app_node.interface.rooms import Rooms, Sids, rooms_of
from app_node.interface.selections import ForAllWhoMatch
from app_node.lanes.progress import current_progress
from sio_cluster.node.monitoring.log import configure_logging_of_guest
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ClientGone, TooManyCalls
from sio_cluster.streams.redis import RedisBus

_H = TypeVar("_H", bound=Handler)
_T = TypeVar("_T")


def get_client(config: Config | Mapping[str, Any] | None = None, **python_socketio_options: Any) -> "ClusterServer":
    """The server object of an app-node. Does no IO: it connects to Redis with its first command, or with `start`.

    Takes the options of `socketio.AsyncServer`. Those of Engine.IO give a warning: they are settings of the io-nodes
    now. Raises ConfigError for a wrong setting, TypeError for an unknown option.
    """
    return ClusterServer(config, **python_socketio_options)


class ClusterServer(Queries, Asking, AppNodeEvents, ForAllWhoMatch, ServerPresence, AsyncServer):
    """An `AsyncServer` whose clients are connected to io-nodes."""

    def __init__(
        self,
        config: Config | Mapping[str, Any] | None = None,
        *,
        make_bus: BusFactory = RedisBus,
        clock: Clock = steady,
        **options: Any,
    ) -> None:
        self.config = config if isinstance(config, Config) else Config(config)
        configure_logging_of_guest(self.config)
        self._make_bus = make_bus
        self._clock = clock
        self._node: AppNode | None = None
        self._start_handlers: list[Handler] = []
        self._console: Console | None = None
        self._stopping: asyncio.Task[None] | None = None  # where a handler has called `shutdown`
        super().__init__(client_manager=ClusterManager(), **checked_options(options))
        self.application = Application(
            self, exceptions.ConnectionRefusedError, AsyncNamespace.trigger_event, options.get("json")
        )

    @property
    def node(self) -> AppNode:
        """The app-node that this object is now. It becomes another one after `shutdown`, and where an event loop ends
        without `shutdown`: for what tasks still emit when they are cancelled, and for the next event loop."""
        if self._node is None or self._node.cut_off:
            self._node = AppNode(
                self.config,
                self.application,
                async_handlers=self.async_handlers,
                always_connect=self.always_connect,
                make_bus=self._make_bus,
                clock=self._clock,
            )
            self.environ = Environs(self._node.clients.known)
        return self._node

    # --- life cycle: not in python-socketio

    def on_start(self, handler: _H) -> _H:
        """Decorator: `handler()` runs each time this app-node starts, before its first event.

        This is the place for `start_background_task`. A task that a `connect` handler starts ends with its app-node.
        The next app-node can start it again only if `connect` takes `is_reconnect`, and only when the client's next
        event comes. Each app-node runs `handler`. An exception that it raises ends the start.
        """
        self._start_handlers.append(handler)
        return handler

    async def start(self) -> None:
        """Becomes an app-node: takes lanes and runs handlers. Waits for Redis. Raises ConfigError as `AppNode.open`.

        Does nothing where it is one. A second call waits for the first, and `on_start` handlers run once. Waits for a
        `shutdown` that is under way. Raises RuntimeError where `shutdown` is called before it returns.
        """
        while self._node is not None and self._node.stopping:
            await self._node.over.wait()
        await self.node.start(self._run_start_handlers)

    async def _run_start_handlers(self) -> None:
        if self._console is not None:
            self._console.begin(self.node)
        for handler in self._start_handlers:
            await run(handler, ())

    async def serve(self) -> None:
        """Runs as an app-node until SIGTERM, SIGINT or `shutdown`, then stops cleanly. Serves HEALTH_PORT."""
        await serving.serve(self.node, self.start, self.shutdown)

    async def __aenter__(self) -> "ClusterServer":
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.shutdown()

    async def shutdown(self) -> None:
        """Stops cleanly: handlers end (within SHUTDOWN_MS), their output is in Redis, lanes are handed over.

        Clients stay connected. The object can be used again, and is then a new app-node. An `emit` or the like that
        another task still waits for raises RuntimeError there: Redis may have got it or not.

        In a handler of a client it returns at once, and the app-node stops when the handler has ended.
        """
        node = self._node
        if node is None or node.stranded:
            return
        if node.waits_for_caller():
            self._stopping = asyncio.create_task(self._stop(node), context=Context())
        else:
            await self._stop(node)

    async def _stop(self, node: AppNode) -> None:
        try:
            await node.stop()  # handlers that end now still emit through this node
        finally:
            if self._node is node:
                self._node = None

    # --- events

    @overload
    def on(
        self, event: str, handler: None = None, namespace: str | None = None, *, atomic: bool = False
    ) -> Callable[[_H], _H]: ...

    @overload
    def on(self, event: str, handler: _H, namespace: str | None = None, *, atomic: bool = False) -> None: ...

    def on(
        self, event: str, handler: Handler | None = None, namespace: str | None = None, *, atomic: bool = False
    ) -> Any:
        """As in python-socketio. `event` (the decorator) takes `atomic` too.

        `atomic`: what the handler emits leaves when it has ended, together with the note that the event is done. So if
        this app-node dies, clients got everything from the handler, or nothing and it runs again, unless more waits for
        an io-node than one step takes (docs/reliability.md). It may emit 1 MB, counted once for each io-node; what
        would be more raises ValueError. It cannot use `call`. Raises ValueError for `connect` and `disconnect`, which
        change the client's record.
        """
        if not atomic:
            return super().on(event, handler, namespace)
        if event in ("connect", "disconnect"):
            raise ValueError(f"{event} cannot be atomic: its outcome is written into the client's record first")

        def register(its: _H) -> _H:
            self.application.make_atomic(its)
            super(ClusterServer, self).on(event, its, namespace)
            return its

        if handler is None:
            return register
        register(handler)
        return None

    @overload
    def event(self, handler: _H, /) -> _H: ...

    @overload
    def event(self, *, namespace: str | None = None, atomic: bool = False) -> Callable[[_H], _H]: ...

    def event(self, *args: Any, **kwargs: Any) -> Any:
        """As in python-socketio, and `atomic` as for `on`."""
        return super().event(*args, **kwargs)

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
        *,
        except_room: Rooms | None = None,
        volatile: bool = False,
    ) -> None:
        """As in python-socketio, for all clients of the cluster. None as `to` is everybody, an empty list is nobody.

        `except_room`: a room or a sid, or a list of them, whose members do not get the event. Each io-node looks when
        it sends. `volatile`: a client that cannot be written to at once does not get it, now or later
        (docs/server.md#volatile-emits). Neither is in python-socketio.

        A callback is called for the answer of each client that gets the event; for a room, during ten minutes. Raises
        TypeError for data that is not JSON. Raises ValueError for more than ten binary values (MAX_ATTACHMENTS), since
        clients would disconnect. Raises NodesTooOld where a room is excepted and a node of the last release is in the
        cluster.
        """
        recipients = room if to is None else to
        await self.manager.emit(
            event,
            data,
            namespace or "/",
            recipients,
            skip_sid,
            callback,
            except_room=except_room,
            volatile=volatile,
        )

    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float = 60,
        ignore_queue: bool = False,
    ) -> Any:
        """As in python-socketio. Raises its TimeoutError where no answer comes within `timeout` seconds.

        Raises ValueError where `to` is None or an empty list. Raises TimeoutError at once where 1,000 calls wait for
        answers of this client already. Raises DisconnectedError at once where the client is not connected to this
        namespace, or its connection ends before it has answered. Both are python-socketio's.
        """
        recipient = sid if to is None else to
        if recipient is None:
            raise ValueError("Cannot use call() to broadcast.")
        if rooms_of(recipient) == []:
            raise ValueError("Cannot use call() to ask nobody.")
        if not self.async_handlers:
            raise RuntimeError("Cannot use call() when async_handlers is False.")
        if held_output() is not None:
            raise RuntimeError("Cannot use call() in an atomic handler: its question would leave when it has ended.")
        callbacks = self.node.clients.callbacks
        answer: asyncio.Future[tuple[Any, ...] | None] = asyncio.get_running_loop().create_future()

        def answered(*args: Any) -> None:
            if not answer.done():  # else another member of the room was quicker
                answer.set_result(args)

        def missed() -> None:
            if not answer.done():
                answer.set_result(None)

        try:
            ack_id = await self.manager.ask(
                event, data, namespace or "/", recipient, callback=answered, is_call=True, on_missed=missed
            )
        except TooManyCalls as error:
            raise exceptions.TimeoutError(str(error)) from None
        except ClientGone as error:
            raise exceptions.DisconnectedError(str(error)) from None
        try:
            async with asyncio.timeout(timeout):
                args = await answer
        except TimeoutError:
            raise exceptions.TimeoutError() from None
        finally:
            if ack_id is not None:
                callbacks.forget(ack_id)
        if args is None:
            raise exceptions.DisconnectedError(f"{recipient} has disconnected without an answer")
        return args if len(args) > 1 else args[0] if args else None

    # --- clients

    async def get_session(self, sid: str, namespace: str | None = None) -> Any:
        """As in python-socketio. It lives in Redis and outlasts app-nodes. KeyError for a client that is gone, or is of
        another namespace."""
        namespace = namespace or "/"
        session = self.node.clients.sessions.loaded(sid, namespace)
        if session is not None:
            return session
        await self.node.open()
        return await self.node.clients.sessions.load(sid, namespace)

    async def save_session(self, sid: str, session: Any, namespace: str | None = None) -> None:
        """As in python-socketio. A session holds what JSON knows, and bytes. TypeError for other types, KeyError as
        `get_session`."""
        encoded = encode_session(session)
        await self.node.open()
        await self.node.clients.sessions.save(sid, namespace or "/", session, encoded)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """As in python-socketio, for any client of the cluster. In its `connect` handler it refuses the client.

        Where another app-node holds the client's lane, the `disconnect` handler runs there.
        """
        namespace = namespace or "/"
        if await self.manager.can_disconnect(sid, namespace):
            await self.manager.disconnect(sid, namespace)

    async def close_connection(self, sid: str, namespace: str | None = None) -> None:
        """As `disconnect`, and closes the client's whole connection. Not in python-socketio.

        The clients that the connection has in other namespaces count as connected until its io-node reports the end. So
        does the client itself, where another app-node holds its lane.
        """
        namespace = namespace or "/"
        if await self.manager.can_disconnect(sid, namespace):
            await self.manager.disconnect(sid, namespace, close=True)

    def is_redelivered(self) -> bool:
        """Whether the running handler may have run before, in part or to its end, on an app-node that died."""
        progress = current_progress.get()
        return progress is not None and progress.redelivered

    def was_recovered(self, sid: str, namespace: str | None = None) -> bool:
        """Whether the client has claimed its session back when it connected last: it has its rooms and session still,
        and gets what it missed. As `socket.recovered` in JavaScript. Not in python-socketio.

        False for a client that this app-node does not know. A `connect` handler may also take the argument
        `is_recovered`.
        """
        client = self.node.clients.known.present(sid, namespace or "/")
        return client is not None and client.is_recovered

    def start_background_task(
        self, target: Callable[..., Awaitable[_T]], *args: Any, **kwargs: Any
    ) -> "asyncio.Task[_T]":
        """As in python-socketio. The task does not count as a part of the handler that started it."""
        token = current_progress.set(None)
        try:
            with nothing_held():
                task = super().start_background_task(target, *args, **kwargs)
        finally:
            current_progress.reset(token)
        return task

    # --- what an app-node does not have

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
        server_stats_interval: float = 2,
    ) -> None:
        """Serves Socket.IO's Admin UI, for the whole cluster: io-nodes and app-nodes are its servers. Call it before
        the start, on every app-node.

        `auth`: a dict that the administrator must send, as the page's form does ({"username": ..., "password": ...}), a
        list of such dicts, or a function of what was sent, which may be a coroutine function. False: everybody may come
        in. `mode`: "production" shows nodes and figures, "development" clients, rooms and events too. `read_only`:
        administrators can change nothing. `server_stats_interval` in seconds. `server_id` has no effect: each node has
        an id of its own.

        Raises ValueError for None as `auth` and for an empty one, for another mode, and where `namespace` is "/" or has
        handlers.
        Raises TypeError for other kinds of `auth`, and RuntimeError where it was called before.
        """
        if self._console is not None:
            raise RuntimeError("instrument() was called before")
        self._console = Console(
            self,
            auth=auth,
            mode=mode,
            read_only=read_only,
            namespace=namespace,
            interval_s=server_stats_interval,
            refused=exceptions.ConnectionRefusedError,
            clock=self._clock,
        )

    # --- what python-socketio asks for

    def _engineio_server_class(self) -> type[Engine]:
        return Engine
