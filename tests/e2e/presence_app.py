"""The application of the tests of presence: clients enter the lobby under a key, and see who is there.

app-node tests/e2e/presence_app.py:sio
"""

import os
from typing import Any

import app_node

sio = app_node.get_client()
lobby = sio.presence("lobby", linger=float(os.environ.get("LINGER_S", "0.5")))


@sio.event
async def come(sid: str, key: str, tab: int) -> None:
    await sio.enter_room(sid, "lobby")
    await lobby.track(sid, key, {"tab": tab})
    await lobby.send_state(sid)


@sio.event
async def show(sid: str, key: str, tab: int) -> None:
    await lobby.track(sid, key, {"tab": tab})


@sio.event
async def leave(sid: str) -> None:
    await sio.leave_room(sid, "lobby")


@sio.event
async def listed(sid: str) -> Any:
    return await lobby.list()
