"""The application of the tests of the Admin UI.

app-node tests/e2e/admin_app.py:sio
"""

from typing import Any

import app_node

sio = app_node.get_client(namespaces="*")
sio.instrument(auth={"username": "ada", "password": "correct horse"}, server_stats_interval=0.5)


@sio.event
async def echo(sid: str, value: Any) -> Any:
    return value


@sio.on("connect", namespace="*")
async def connect(namespace: str, sid: str, environ: Any) -> None:
    """Any namespace is served."""


@sio.event
async def enter(sid: str, room: str) -> None:
    await sio.enter_room(sid, room)
