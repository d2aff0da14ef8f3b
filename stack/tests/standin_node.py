"""Stands in for both kinds of node: it answers health, and just enough of Engine.IO to see which node got a request."""

import os
import sys

from aiohttp import web

from sio_cluster.protocol.ids import new_node_id, new_sid

NODE = new_node_id(os.environ["NODE_NAME"], os.urandom)
_sids: set[str] = set()


async def polling(request: web.Request) -> web.Response:
    sid = request.query.get("sid")
    if sid is None:
        sid = new_sid(NODE, os.urandom)
        _sids.add(sid)
    elif sid not in _sids:
        return web.json_response({"code": 1, "node": NODE}, status=400)
    return web.json_response({"sid": sid, "node": NODE, "bytes": len(await request.read())})


async def echo_headers(request: web.Request) -> web.Response:
    return web.json_response({"node": NODE, "headers": dict(request.headers)})


def main() -> None:
    app = web.Application(client_max_size=10_000)
    app.router.add_route("*", "/socket.io/", polling)
    app.router.add_get("/{path:.*}", echo_headers)
    print("stand-in", NODE, "listens", flush=True)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None)


if __name__ == "__main__":
    main()
