"""The application for connection state recovery: it emits numbered streams for as long as it runs.

Each app-node has several emitters, and each of them its own streams, so that the numbers of one stream come in order:

    all            to everybody
    room:N         to the members of a room
    two:N          to two rooms at once; whoever is in both gets it once
    bytes:N        to a room, with a binary attachment
    skip:N         to a room, but not to its first member
    own:CLIENT     to one sid
    few            POURED numbers of FEW_BYTES each to the first FEW clients, once there is a file `pour`

Client C is in the rooms C % ROOMS and "all". A file `hush` in CHAOS_RECORDS ends the emitting. `poured-PID` says that
all of `few` is in Redis. Lines of app-PID.txt:

    c t client sid again recovered redelivered    the connect handler ran
    d t client sid redelivered reason             the disconnect handler ran
    b t process                                   it begins to emit
    e t stream n                                  the last number of a stream that reached Redis
"""

import asyncio
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from records import Pen  # type: ignore[import-not-found]  # app-node puts this folder on the path

import app_node

sio = app_node.get_client()
process = os.getpid()
directory = Path(os.environ.get("CHAOS_RECORDS", "/nonexistent"))
pen = Pen(directory / f"app-{process}.txt")
ROOMS = int(os.environ.get("CHAOS_ROOMS", "100"))
RATE = float(os.environ.get("CHAOS_EMITS", "500"))
"""Emits a second of each app-node."""
EMITTERS = 8
"""Each waits until Redis has what it has said, before it says more."""
FEW = int(os.environ.get("CHAOS_FEW", "4"))
POURED = int(os.environ.get("CHAOS_POURED", "1000"))
FEW_BYTES = 20_000

numbers: dict[str, int] = defaultdict(int)  # stream -> its last number
here: dict[int, str] = {}  # client -> sid, of those whose connect handler ran here


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: Any, is_reconnect: bool, is_recovered: bool) -> None:
    client = int(auth["client"])
    assert auth.keys() == {"client"}, auth.keys()
    pen("c", client, sid, int(is_reconnect), int(is_recovered), int(sio.is_redelivered()))
    here[client] = sid
    if is_recovered:
        session = await sio.get_session(sid)
        assert session == {"client": client}, session
        assert set(sio.rooms(sid)) == {sid, *rooms(client)}, sio.rooms(sid)
    elif not is_reconnect:
        await sio.save_session(sid, {"client": client})
        for room in rooms(client):
            await sio.enter_room(sid, room)


def rooms(client: int) -> list[str]:
    return ["all", f"room{client % ROOMS}", *(["few"] if client < FEW else [])]


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    session = await sio.get_session(sid)
    pen("d", session.get("client", -1), sid, int(sio.is_redelivered()), reason)


@sio.on_server("rooms")
def known_rooms(sender: str, sids: list[str]) -> dict[str, list[str]]:
    """The rooms of each of these clients, as this app-node knows them or finds out (tests/chaos/rooms.py)."""
    return {sid: [str(room) for room in sio.rooms(sid) if room != sid] for sid in sids}


@sio.on_start
async def emit_streams() -> None:
    pen("b", process)
    for number in range(EMITTERS):
        sio.start_background_task(_emit_streams, f"{process}.{number}")
    sio.start_background_task(_pour, str(process))


async def _say(stream: str, event: str, *data: Any, **to: Any) -> None:
    numbers[stream] += 1
    await sio.emit(event, (stream, numbers[stream], *data), **to)


async def _pour(origin: str) -> None:
    while not (directory / "pour").exists():  # another process makes it
        await asyncio.sleep(0.1)
    for _ in range(POURED):
        await _say(f"{origin}:few", "to", "x" * FEW_BYTES, room="few")
    (directory / f"poured-{process}").touch()
    await _hushed()
    _end(origin)


async def _hushed() -> None:
    while not (directory / "hush").exists():  # another process makes it
        await asyncio.sleep(0.1)


async def _emit_streams(origin: str) -> None:
    turn = 0
    loop = asyncio.get_running_loop()
    began = loop.time()
    while not (directory / "hush").exists():
        turn += 1
        room = turn % ROOMS
        match turn % 10:
            case 0:
                await _say(f"{origin}:two:{room}", "to", room=[f"room{room}", f"room{(room + 1) % ROOMS}"])
            case 1:
                await _say(f"{origin}:bytes:{room}", "bytes", b"\x01\x02\x03", room=f"room{room}")
            case 2:
                first = here.get(room)
                await _say(f"{origin}:skip:{room}", "to", room=f"room{room}", skip_sid=first)
            case 3 if turn % 500 == 3:
                await _say(f"{origin}:all", "to")
            case 4 | 5 | 6 | 7 if here:
                client = list(here)[turn // 2 % len(here)]
                await _say(f"{origin}:own:{client}", "to", to=here[client])
            case _:
                await _say(f"{origin}:room:{room}", "to", room=f"room{room}")
        await asyncio.sleep(max(0.0, began + turn * EMITTERS / RATE - loop.time()))
    _end(origin)


def _end(origin: str) -> None:
    for stream, number in numbers.items():
        if stream.startswith(f"{origin}:"):
            pen("e", stream, number)
