"""An app-node's only HTTP: /healthz says that it is alive, /readyz that it can serve, /metrics what it has done."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Response

from sio_cluster.node.metrics import CONTENT_TYPE
from sio_cluster.protocol.errors import ConfigError


def health_app(
    is_alive: Callable[[], bool], is_ready: Callable[[], bool], metrics: Callable[[], bytes] = bytes
) -> FastAPI:
    app = FastAPI(title="app-node", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    @app.head("/healthz")
    async def healthz() -> Response:
        return _answer(is_alive())

    @app.get("/readyz")
    @app.head("/readyz")
    async def readyz() -> Response:
        return _answer(is_ready())

    @app.get("/metrics")
    async def show_metrics() -> Response:
        return Response(metrics(), media_type=CONTENT_TYPE)

    return app


@asynccontextmanager
async def serving(app: FastAPI, host: str, port: int | None) -> AsyncIterator[None]:
    """Serves while the block runs; nothing where `port` is None. ConfigError where the port is taken."""
    if port is None:
        yield
        return
    server = uvicorn.Server(
        uvicorn.Config(
            app, host=host, port=port, log_config=None, log_level="warning", access_log=False, lifespan="off"
        )
    )
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]  # signals are the node's
    task = asyncio.create_task(server.serve(sockets=[_listen(host, port)]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]  # IPv6, too
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"HEALTH_PORT: cannot listen on {host}:{port}: {error.strerror}") from error


def _answer(good: bool) -> Response:
    return Response("ok\n" if good else "unavailable\n", 200 if good else 503, media_type="text/plain")
