"""The application of the tests of questions: clients are in the rooms that they name, and app-nodes know their process.

app-node tests/e2e/asking_app.py:sio
"""

import os
from typing import Any

import app_node

sio = app_node.get_client()


@sio.event
async def connect(sid: str, environ: Any, auth: Any) -> None:
    for room in (auth or {}).get("rooms", []):
        await sio.enter_room(sid, room)


@sio.event
async def poll(sid: str, room: str) -> Any:
    """A client asks others, through its own handler."""
    answers = await sio.call_many("vote", room=room, skip_sid=sid, timeout=10)
    return dict(answers), dict(answers.missing)


@sio.on_server("pid")
def pid(sender: str) -> int:
    return os.getpid()


@sio.on_server("hang")
async def hang(sender: str) -> None:
    await sio.sleep(60)
