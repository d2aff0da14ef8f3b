"""The handlers that `make loadtest` talks to, in the namespace /loadtest beside the chat.

They do what any client asks, also an emit to everybody. So they are there only with LOADTEST=1. They are plain
python-socketio: you can add them to any other `AsyncServer` that you want to measure.
"""

import time
from typing import Any

NAMESPACE = "/loadtest"
MAX_ROOMS = 100

Answer = dict[str, float]


def register(sio: Any) -> None:
    """Adds the handlers to `sio`. Each does its work first, then answers with this process's clock."""

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
    """This machine's wall clock in seconds. A machine that makes load compares its own clock with it."""
    return {"now": time.time()}
