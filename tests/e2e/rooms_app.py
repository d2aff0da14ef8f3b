"""The application of the tests of rooms: clients put each other into rooms, and ask what their own handlers know.

app-node tests/e2e/rooms_app.py:sio
"""

import os
from typing import Any

import app_node

sio = app_node.get_client()


@sio.event
async def enter(sid: str, other: str, room: str) -> None:
    await sio.enter_room(other, room)
    await sio.emit("told", to=other)


@sio.event
async def close(sid: str, room: str) -> None:
    await sio.close_room(room)
    await sio.emit("told")


@sio.event
async def rooms(sid: str) -> Any:
    return os.getpid(), sorted(room for room in sio.rooms(sid) if room != sid)


@sio.event
async def who(sid: str, room: str) -> Any:
    """What each way of asking says of this room: how many, who, and their rooms."""
    sids = sorted([client.sid async for client in sio.iter_clients(room)])
    participants = sorted(each for each, _ in sio.manager.get_participants("/", room))
    both = {room for each in sids for room in sio.rooms(each) if room != each}
    return await sio.count(room), sids, participants, sorted(both), await sio.count(), await sio.all_rooms()
