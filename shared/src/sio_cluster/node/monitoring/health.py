"""What every node answers over HTTP about itself: /healthz, /readyz and /metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from sio_cluster.node.monitoring.metrics import CONTENT_TYPE

_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Health:
    """How a node is, asked at each request. The functions return "" where all is well, else why it is not."""

    node_id: str
    dead_because: Callable[[], str]
    unready_because: Callable[[], str]
    metrics: Callable[[], bytes]
    """All counts in Prometheus' text format."""


def health_routes(health: Health) -> APIRouter:
    """The three paths. 200 where all is well, else 503 with the reason."""
    routes = APIRouter()

    @routes.get("/healthz")
    @routes.head("/healthz")
    async def healthz() -> JSONResponse:
        """Alive: the event loop turns, and no loop of the node has failed."""
        return _answer(health, "alive", "dead", health.dead_because())

    @routes.get("/readyz")
    @routes.head("/readyz")
    async def readyz() -> JSONResponse:
        """Can serve: Redis passes messages in both directions, and the node is neither starting nor stopping."""
        return _answer(health, "ready", "unready", health.unready_because())

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Counters and gauges for Prometheus. nginx does not pass this path on: ask each node itself."""
        return Response(health.metrics(), media_type=CONTENT_TYPE, headers=_NO_STORE)

    return routes


def _answer(health: Health, good: str, bad: str, why: str) -> JSONResponse:
    if why:
        return JSONResponse({"status": bad, "why": why, "node": health.node_id}, status_code=503, headers=_NO_STORE)
    return JSONResponse({"status": good, "node": health.node_id}, headers=_NO_STORE)
