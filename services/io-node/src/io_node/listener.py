"""Runs an io-node and an ASGI application on one port.

io_node.listen(app, Config(HTTP_PORT=8081)).run()       as a process
async with io_node.listen(app) as listener: ...         inside a running event loop
"""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self, cast

import structlog
import uvicorn
import uvloop

from io_node.app import IoNode
from io_node.front import AsgiApp
from sio_cluster.compiled.form import running_form
from sio_cluster.node.monitoring.log import configure_logging, configure_logging_of_guest
from sio_cluster.node.process.listening import listen_on
from sio_cluster.node.process.running import run_node
from sio_cluster.node.process.ticking import tick
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError

log = structlog.get_logger()

_BACKLOG = 4096
"""How many TCP connections may wait to be accepted."""

_KEEP_ALIVE_S = 75
"""Longer than nginx keeps an idle connection open, so that nginx never uses one that we are closing."""

_GRACE_S = 5
"""How long the application's own requests may still take when the node has drained."""


def listen(app: AsgiApp | None = None, config: Config | None = None) -> "Listener":
    """Attach an io-node to `app`, any ASGI application. None: the node alone.

    Requests to SOCKETIO_PATH and below it, to /healthz, /readyz and /metrics are for the node. All else is for `app`,
    WebSockets and the lifespan included. Nothing happens before the listener is run.
    """
    return Listener(app, config or Config())


class Listener:
    """One io-node on one port. It serves once: make another one to serve again."""

    def __init__(self, app: AsgiApp | None, config: Config, node: IoNode | None = None) -> None:
        self.config = config
        self.node = node or IoNode(config)
        self._app = app
        self._socket: socket.socket | None = None
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None
        self._listening = asyncio.Event()

    @property
    def port(self) -> int:
        """The port that it listens on. Known once it serves; RuntimeError before."""
        if self._socket is None:
            raise RuntimeError("the listener does not serve yet")
        port: int = self._socket.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The URL for clients on this machine."""
        host = self.config.http_host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def run(self) -> None:
        """Configure logging, serve until SIGINT or SIGTERM, then drain.

        A second signal skips the draining. The next one cuts off an application that does not shut down.

        Raises ConfigError where the port is taken, the application does not start, Redis refuses the node, or the
        node does not fit the cluster.
        """
        configure_logging(self.config, node=self.node.node_id, role="io-node")
        run_node(self._run(), uvloop.new_event_loop)

    async def serve(self) -> None:
        """Serve inside a running loop until `stop` is called. Raises as `run`."""
        configure_logging_of_guest(self.config)
        self._bind()
        assert self._socket is not None
        log.info("listening", url=self.url, path=self.config.socketio_path, compiled=str(running_form()))
        server = _Server(self._uvicorn_config(), self._listening)
        serving = asyncio.create_task(server.serve(sockets=[self._socket]), name="http")
        running = asyncio.create_task(self.node.run(), name="io-node")
        stopping = asyncio.create_task(self._stopping.wait(), name="stop")
        try:
            await asyncio.wait({serving, running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done() and not running.done():
                await self._drain(running)
        finally:
            stopping.cancel()
            server.end()
            running.cancel()
            self.node.engine.stop()
            await self._end(serving, running)
            self._socket.close()
            log.info("stopped", node=self.node.node_id)
        for task in (serving, running):
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until clients are let in. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self.node.ready.wait()

    async def stop(self) -> None:
        """Drain, and return when all has stopped. Idempotent."""
        self._stopping.set()
        if self._serving is not None:
            await asyncio.wait({self._serving})

    async def __aenter__(self) -> Self:
        """Serve in the background. Returns when the port is open; `wait_until_ready` waits until clients are let in."""
        self._serving = asyncio.create_task(self.serve(), name="listener")
        listening = asyncio.create_task(self._listening.wait())
        await asyncio.wait({self._serving, listening}, return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()
        if self._serving.done():
            await self._serving
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
        if self._serving is not None and error is None:
            await self._serving

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._on_signal)
        await self.serve()

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    async def _drain(self, running: asyncio.Task[None]) -> None:
        """Drain, unless the node fails or a second signal comes meanwhile."""
        draining = asyncio.create_task(self.node.drain(), name="drain")
        hurrying = asyncio.create_task(self._hurry.wait(), name="hurry")
        await asyncio.wait({draining, hurrying, running}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if draining.done():
            draining.result()
        else:
            log.warning("draining_skipped")
            self._hurry.clear()
            draining.cancel()

    async def _end(self, serving: asyncio.Task[None], running: asyncio.Task[None]) -> None:
        """Returns when both have ended. Nobody waits for an application that is still starting."""
        hurrying = asyncio.create_task(self._hurry.wait(), name="hurry")
        if self._listening.is_set():
            await asyncio.wait({serving, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        if not serving.done():
            log.warning("application_cut_off")
            serving.cancel()
        await asyncio.wait({serving, running})

    def _bind(self) -> None:
        host, port = self.config.http_host, self.config.http_port
        try:
            self._socket = listen_on(host, port, _BACKLOG)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise ConfigError(f"HTTP_PORT: {port} on {host} is already in use") from None
            raise ConfigError(f"HTTP_HOST, HTTP_PORT: cannot listen on {host}, port {port}: {error.strerror}") from None
        self._socket.setblocking(False)

    def _uvicorn_config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self.node.front(self._app),
            http=cast(Any, self.node.engine.http_protocol),  # a factory does, though uvicorn's types ask for a class
            loop="none",
            lifespan="auto",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=True,
            forwarded_allow_ips=list(self.config.trusted_proxies),
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GRACE_S,
        )


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, and at rest while nobody asks. It sets `listening` when the port is open.

    Its base is not made for subclasses. tests/engineio/test_private_classes.py fails when it changes.
    """

    def __init__(self, config: uvicorn.Config, listening: asyncio.Event) -> None:
        super().__init__(config)
        self._listening = listening
        self._ended = asyncio.Event()

    def end(self) -> None:
        """`serve` shuts down, and returns. Idempotent."""
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise ConfigError("the application's start-up failed, see the lines above") from None
        self._listening.set()

    async def main_loop(self) -> None:
        await tick(lambda: self.on_tick(0), self._ended)
