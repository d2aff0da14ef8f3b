"""What an io-node answers besides Socket.IO: health, metrics, the size of the cluster, the JavaScript client, and the
page of the Admin UI."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated

from fastapi import FastAPI, Header, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from io_node.admin_ui import CONTENT_SECURITY_POLICY, PLACE, AdminUi
from io_node.bus.registration import ClusterView
from io_node.client_files import NAMES, ClientFile, ClientFiles
from sio_cluster.node.monitoring.health import Health, health_routes

_NOT_INSTALLED = (
    "The JavaScript client is not installed on this io-node. Run `npm install socket.io-client` in its working "
    "directory or above, or set CLIENT_DIST_DIR to the folder that holds socket.io.js.\n"
)


_PAGE_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def own_paths(path: str, admin_ui: AdminUi) -> frozenset[str]:
    """The paths that `make_routes` serves. `path` is SOCKETIO_PATH."""
    files = (f"{path}/{name}" for name in NAMES)
    return frozenset(("/healthz", "/readyz", "/metrics", f"{path}/cluster", *files)) | admin_ui.paths


def make_routes(
    health: Health, view: Callable[[], ClusterView], path: str, files: ClientFiles, admin_ui: AdminUi
) -> FastAPI:
    """An application with /healthz, /readyz, /metrics, PATH/cluster, PATH/socket.io.js and /admin-ui/.

    `view` gives the cluster as this node saw it at its last heartbeat.
    """
    routes = FastAPI(title="io-node", openapi_url=None, redirect_slashes=False)
    routes.router.routes.extend(health_routes(health))

    @routes.get(f"{path}/cluster")
    async def cluster() -> JSONResponse:
        """How large the cluster is, as of the last heartbeat."""
        seen = view()
        sizes = {"io_nodes": len(seen.io_nodes), "app_nodes": len(seen.app_nodes), "clients": seen.clients}
        return JSONResponse({"node": health.node_id, **sizes}, headers={"Cache-Control": "no-store"})

    @routes.get(f"{path}/{{name}}")
    @routes.head(f"{path}/{{name}}")
    async def client_file(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        file = files.get(name)
        if file is None:
            return PlainTextResponse(_NOT_INSTALLED, status_code=404)
        return _answer(file, if_none_match)

    if admin_ui.paths:
        _add_admin_ui(routes, admin_ui)
    return routes


def _add_admin_ui(routes: FastAPI, admin_ui: AdminUi) -> None:
    @routes.get(PLACE)
    @routes.head(PLACE)
    async def without_slash() -> Response:
        return RedirectResponse(f"{PLACE}/")

    @routes.get(f"{PLACE}/{{name:path}}")
    @routes.head(f"{PLACE}/{{name:path}}")
    async def admin_file(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        file = admin_ui.get(name)
        return Response(status_code=404) if file is None else _answer(file, if_none_match, _PAGE_HEADERS)


def _answer(file: ClientFile, if_none_match: str | None, more: Mapping[str, str] = MappingProxyType({})) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": "public, max-age=0", **more}
    if if_none_match is not None and file.etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
