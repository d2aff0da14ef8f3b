"""The application of the end-to-end tests: it says which process answered, and remembers in sessions alone.

app-node tests/e2e/app.py:sio
"""

import os
from typing import Any

import app_node

sio = app_node.get_client()

Environ = dict[str, Any]


@sio.event
async def connect(sid: str, environ: Environ, auth: Any, is_reconnect: bool) -> None:
    async with sio.session(sid) as session:
        session["connects" if not is_reconnect else "reconnects"] = (
            session.get("connects" if not is_reconnect else "reconnects", 0) + 1
        )
    await sio.enter_room(sid, "everybody")


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    await sio.emit("gone", (sid, reason), room="everybody")


@sio.event
async def number(sid: str, value: int) -> tuple[int, int]:
    return value, os.getpid()


@sio.event
async def remember(sid: str, value: Any) -> None:
    async with sio.session(sid) as session:
        session["value"] = value


@sio.event
async def recall(sid: str) -> Any:
    return {"pid": os.getpid(), "session": await sio.get_session(sid)}


@sio.event
async def shout(sid: str, value: Any) -> None:
    await sio.emit("shouted", value, room="everybody")


@sio.on("connect", namespace="/plain")
async def connect_plainly(sid: str, environ: Environ) -> None:
    """A handler of an unmodified application: it must run once in a client's life."""
    session = await sio.get_session(sid, namespace="/plain")
    await sio.save_session(sid, {"connects": session.get("connects", 0) + 1}, namespace="/plain")


@sio.on("recall", namespace="/plain")
async def recall_plainly(sid: str) -> Any:
    return {"pid": os.getpid(), "session": await sio.get_session(sid, namespace="/plain")}
