"""The application behind a bridge: it lets everybody in, and says what servers are told.

`app-node tests/bridges/app.py:sio`
"""

import app_node

sio = app_node.get_client(namespaces=["/", "/other"])


@sio.event
async def connect(sid: str, environ: object) -> None:
    """Lets the client in."""


@sio.on("connect", namespace="/other")
async def connect_other(sid: str, environ: object) -> None:
    """Lets the client in."""


@sio.on_server("reload")
async def reload(sender: str, *args: object) -> None:
    """Tells everybody."""
    await sio.emit("reloaded", args)
