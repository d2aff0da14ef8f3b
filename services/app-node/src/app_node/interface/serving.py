"""Runs an app-node as a process: until a signal comes, and with a port for health checks.

The port answers /healthz (the node lives), /readyz (it can serve) and /metrics: see
`sio_cluster.node.monitoring.health`. It is open from before the node starts until after it has stopped. It is an
app-node's only HTTP.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette

from app_node.app import AppNode
from sio_cluster.node.monitoring.health import Health, health_routes
from sio_cluster.node.process.listening import listen_on
from sio_cluster.node.process.ticking import tick
from sio_cluster.protocol.errors import ConfigError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def serve(node: AppNode, start: Callable[[], Awaitable[None]], stop: Callable[[], Awaitable[None]]) -> None:
    """Starts, runs until a signal comes or `node` is over, and stops cleanly.

    The process is the node's own: it ends if a handler blocks it for long (`app_node.blocking`), and the spans that
    the application makes are sent with those of the node.

    Raises what `start` raises, and what a loop raised that failed. Raises ConfigError where HEALTH_PORT is taken.
    """
    node.block_watch.owns_process = True
    if node.tracer is not None:
        node.tracer.serve_application()
    with stop_signals() as signalled:
        async with http_server(health_app(node), node.config.http_host, node.config.health_port):
            try:
                await _run(node, start, signalled)
            finally:
                await stop()  # further signals have no effect: nothing cuts this short


async def _run(node: AppNode, start: Callable[[], Awaitable[None]], signalled: asyncio.Event) -> None:
    starting = asyncio.ensure_future(_exit_of(start))
    over = asyncio.ensure_future(node.over.wait())
    stopping = asyncio.ensure_future(signalled.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            if (left := starting.result()) is not None:
                raise left
            await asyncio.wait((over, stopping), return_when=asyncio.FIRST_COMPLETED)
        if node.loops.failure is not None:
            raise node.loops.failure
    finally:
        for task in (starting, over, stopping):
            task.cancel()


async def _exit_of(start: Callable[[], Awaitable[None]]) -> SystemExit | None:
    """Starts. A SystemExit is returned, since a task that raises one stops the event loop."""
    try:
        await start()
    except SystemExit as error:
        return error
    return None


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """An event that a stop signal sets, while the block runs."""
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, signalled.set)
    try:
        yield signalled
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def health_app(node: AppNode) -> Starlette:
    """What answers on the health port of an app-node."""
    return health_app_of(Health(node.id, lambda: node.loops.dead_because, lambda: node.unready_because, node.metrics))


def health_app_of(health: Health) -> Starlette:
    """What answers on the health port of any process."""
    return Starlette(routes=health_routes(health))


@asynccontextmanager
async def http_server(
    app: Any, host: str, port: int | None, setting: str = "HEALTH_PORT", *, stop_s: int | None = None
) -> AsyncIterator[None]:
    """Serves while the block runs; nothing where `port` is None. Raises ConfigError where the port is taken.

    `setting` is where the port comes from. `stop_s`: how long requests that are under way at the end may take.
    """
    if port is None:
        yield
        return
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=stop_s,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[_listen(host, port, setting)]))
    try:
        yield
    finally:
        server.end()
        await task


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, since signals are the node's, and at rest while nobody asks."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """`serve` shuts down, and returns. Idempotent."""
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await tick(lambda: self.on_tick(0), self._ended)


def _listen(host: str, port: int, setting: str) -> socket.socket:
    try:
        return listen_on(host, port)
    except OSError as error:
        raise ConfigError(f"{setting}: cannot listen on {host}:{port}: {error.strerror}") from error
