"""What an io-node answers besides Socket.IO: health, metrics, the size of the cluster, the JavaScript client."""

from typing import Annotated, Protocol

from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from io_node.bus.presence import ClusterView
from io_node.client_files import NAMES, ClientFiles
from sio_cluster.node.metrics import CONTENT_TYPE, Family, exposition

_NOT_INSTALLED = (
    "The JavaScript client is not installed on this io-node. Run `npm install socket.io-client` in its working "
    "directory or above, or set CLIENT_DIST_DIR to the folder that holds socket.io.js.\n"
)


class NodeState(Protocol):
    @property
    def node_id(self) -> str: ...

    @property
    def view(self) -> ClusterView: ...

    @property
    def unready_because(self) -> str:
        """Empty when the node can serve."""

    def metrics(self) -> list[Family]: ...


def make_routes(node: NodeState, path: str, files: ClientFiles) -> FastAPI:
    """An application with /healthz, /readyz, /metrics, PATH/cluster and PATH/socket.io.js."""
    routes = FastAPI(title="io-node", openapi_url=None, redirect_slashes=False)

    @routes.get("/healthz")
    @routes.head("/healthz")
    async def healthz() -> JSONResponse:
        """Alive: the event loop turns."""
        return _json({"status": "alive", "node": node.node_id})

    @routes.get("/readyz")
    @routes.head("/readyz")
    async def readyz() -> JSONResponse:
        """Can serve: Redis answered in both directions of late, and the node is not stopping."""
        why = node.unready_because
        if why:
            return _json({"status": "unready", "why": why, "node": node.node_id}, status=503)
        return _json({"status": "ready", "node": node.node_id})

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Counters and gauges for Prometheus. nginx does not pass this path on: ask each node itself."""
        return Response(exposition(node.metrics()), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})

    @routes.get(f"{path}/cluster")
    async def cluster() -> JSONResponse:
        """How large the cluster is, as of the last heartbeat."""
        view = node.view
        sizes = {"io_nodes": len(view.io_nodes), "app_nodes": len(view.app_nodes), "clients": view.clients}
        return _json({"node": node.node_id, **sizes})

    @routes.get(f"{path}/{{name}}")
    @routes.head(f"{path}/{{name}}")
    async def client_file(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        file = files.get(name)
        if file is None:
            return PlainTextResponse(_NOT_INSTALLED if name in NAMES else "Not found\n", status_code=404)
        headers = {"ETag": file.etag, "Cache-Control": "public, max-age=0"}
        if if_none_match is not None and file.etag in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    return routes


def _json(content: dict[str, object], status: int = 200) -> JSONResponse:
    return JSONResponse(content, status_code=status, headers={"Cache-Control": "no-store"})
