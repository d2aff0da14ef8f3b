"""The application of the tests of selections: clients change rooms of all who match, and ask what is known of them.

app-node tests/e2e/selections_app.py:sio
"""

import os
from contextlib import suppress
from typing import Any

import app_node

sio = app_node.get_client()


@sio.event
async def enter(sid: str, other: str, room: str) -> None:
    with suppress(KeyError):  # it has just gone
        await sio.enter_room(other, room)


@sio.event
async def leave(sid: str, other: str, room: str) -> None:
    await sio.leave_room(other, room)


@sio.event
async def enter_all(sid: str, rooms: Any, room: Any, except_room: Any) -> None:
    await sio.enter_rooms(rooms, room=room, except_room=except_room)


@sio.event
async def leave_all(sid: str, rooms: Any, room: Any, except_room: Any) -> None:
    await sio.leave_rooms(rooms, room=room, except_room=except_room)


@sio.event
async def close(sid: str, room: str) -> None:
    await sio.close_room(room)


@sio.event
async def disconnect_all(sid: str, room: Any, close: bool, except_room: Any) -> None:
    await sio.disconnect_room(room, close=close, except_room=except_room)


@sio.event
async def last_word(sid: str, text: str) -> None:
    await sio.emit("told", text)
    await sio.disconnect_room(None, close=True)


@sio.event
async def tell(sid: str, room: Any, except_room: Any, text: Any) -> None:
    await sio.emit("told", text, room=room, except_room=except_room)


@sio.event
async def rounds(sid: str, first: int, number: int) -> None:
    """Each time all enter a new room, are told something there, and leave it again."""
    for n in range(first, first + number):
        await sio.enter_rooms(f"round {n}", room="players")
        await sio.emit("told", n, room=f"round {n}")
        await sio.leave_rooms(f"round {n}", room=f"round {n}")


@sio.event
async def known(sid: str) -> Any:
    """Which process serves this client, what that knows of its rooms, and what its record says."""
    record = await sio.node.bus.records.load(sid)
    recorded = [] if record is None else sorted(map(str, record.rooms))
    return [os.getpid(), sorted(str(room) for room in sio.rooms(sid) if room != sid), recorded]
