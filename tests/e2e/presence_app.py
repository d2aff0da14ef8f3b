"""The application of the tests of presence: clients enter a room under a key, and see who is there.

Who has gone from the yard is shown half a second longer, and from the lobby ten seconds.

app-node tests/e2e/presence_app.py:sio
"""

from typing import Any

import app_node

sio = app_node.get_client()
shown = {"yard": sio.presence("yard", linger=0.5), "lobby": sio.presence("lobby", linger=10)}


@sio.event
async def come(sid: str, key: str, tab: int, room: str = "lobby") -> None:
    await sio.enter_room(sid, room)
    await shown[room].track(sid, key, {"tab": tab})
    await shown[room].send_state(sid)


@sio.event
async def show(sid: str, key: str, tab: int) -> None:
    await shown["lobby"].track(sid, key, {"tab": tab})


@sio.event
async def leave(sid: str, room: str = "lobby") -> None:
    await sio.leave_room(sid, room)


@sio.event
async def listed(sid: str, room: str) -> Any:
    return await shown[room].list()
