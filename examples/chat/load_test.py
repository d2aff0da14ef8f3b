"""What `make loadtest` talks to: a namespace of its own beside the chat. Only with LOADTEST=1, since it obeys anybody.

It is plain python-socketio, so the same handlers serve any other `AsyncServer` that shall be measured.
"""

import time
from typing import Any

NAMESPACE = "/loadtest"
MAX_ROOMS = 100

Answer = dict[str, float]


def register(sio: Any) -> None:
    """Adds the handlers. Each answers after its work is done, with this process's clock."""

    async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        pass

    async def join(sid: str, rooms: list[str]) -> Answer:
        for room in rooms[:MAX_ROOMS]:
            await sio.enter_room(sid, room, namespace=NAMESPACE)
        return now()

    async def leave(sid: str, rooms: list[str]) -> Answer:
        for room in rooms[:MAX_ROOMS]:
            await sio.leave_room(sid, room, namespace=NAMESPACE)
        return now()

    async def publish(sid: str, room: str, message: str) -> Answer:
        await sio.emit("d", message, room=room, namespace=NAMESPACE)
        return now()

    async def broadcast(sid: str, message: str) -> Answer:
        await sio.emit("d", message, namespace=NAMESPACE)
        return now()

    async def echo(sid: str, *what: Any) -> Any:
        return what[0] if len(what) == 1 else what

    async def tell_time(sid: str) -> Answer:
        return now()

    for handler in (connect, join, leave, publish, broadcast, echo):
        sio.on(handler.__name__, handler, namespace=NAMESPACE)
    sio.on("time", tell_time, namespace=NAMESPACE)


def now() -> Answer:
    """This machine's wall clock in seconds: a load machine finds out how far its own is off."""
    return {"now": time.time()}
