"""What every node answers over HTTP about itself: /healthz, /readyz and /metrics."""

from collections.abc import Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

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


def health_routes(health: Health) -> list[Route]:
    """The three paths. 200 where all is well, else 503 with the reason.

    An app-node answers nothing else, and FastAPI alone took a fifth of the CPU that it needs to start. FastAPI takes
    these routes too.
    """

    async def healthz(_: Request) -> JSONResponse:
        """Alive: the event loop turns, and no loop of the node has failed."""
        return _answer(health, "alive", "dead", health.dead_because())

    async def readyz(_: Request) -> JSONResponse:
        """Can serve: Redis passes messages in both directions, and the node is neither starting nor stopping."""
        return _answer(health, "ready", "unready", health.unready_because())

    async def metrics(_: Request) -> Response:
        """Counters and gauges for Prometheus. nginx does not pass this path on: ask each node itself."""
        return Response(health.metrics(), media_type=CONTENT_TYPE, headers=_NO_STORE)

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]


def _answer(health: Health, good: str, bad: str, why: str) -> JSONResponse:
    if why:
        return JSONResponse({"status": bad, "why": why, "node": health.node_id}, status_code=503, headers=_NO_STORE)
    return JSONResponse({"status": good, "node": health.node_id}, headers=_NO_STORE)
